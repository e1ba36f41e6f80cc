import type { FastifyReply, FastifyRequest } from 'fastify'
import { acquire } from '../core/acquire.ts'
import type { Contender, Engine } from '../core/engine.ts'
import { withdraw } from '../core/finish.ts'
import { keptResponseOf } from '../core/kept-response.ts'
import { recordId } from '../core/record-id.ts'
import { ownedBy } from '../core/results.ts'
import type { Identity } from '../core/same-request.ts'
import type { Subject } from '../observe/channels.ts'
import type { ReplayFacts } from '../observe/events.ts'
import type { RouteSettings } from '../options.ts'
import type { RecordVersion } from '../store/record.ts'
import type { Outcome } from '../store/store.ts'
import type { Fingerprinter } from './fingerprint.ts'
import { readKey } from './key.ts'
import { legacyFingerprintOf } from './legacy-fingerprint.ts'
import { andThen, readOption, refuseForOption } from './option-call.ts'
import { recall } from './recall.ts'
import { replay } from './replay.ts'
import { watchReplies } from './replies.ts'
import { RequestClient } from './request-client.ts'
import { Run } from './run.ts'
import { readScope } from './scope.ts'
import { ANSWERED, kIdempotency } from './state.ts'
import { takenFingerprint } from './take-fingerprint.ts'
import { ReplayView, RunView } from './view.ts'

// This is the way of every protected request. Its promises are chained, and options that return no promise cost none,
// since the benchmark shows what `async` costs here.

/**
 * Acquires the request's key. Waits for those options that return promises.
 * @returns whether the handler is to run. If not, the request has been answered with a replay.
 * @throws {IdempotencyError} what to answer instead
 */
export function claim (
  engine: Engine, settings: RouteSettings, fingerprintOf: Fingerprinter, request: FastifyRequest, reply: FastifyReply
): Promise<boolean> {
  return andThen(readKey(request, settings), (key) => {
    if (key === undefined) return UNPROTECTED
    return andThen(readScope(request, settings.scope), (scope) => {
      const subject = { request, scope, id: recordId(scope, key) }
      return andThen(identityOf(engine.settings.recordVersion, settings, fingerprintOf, request), (identity) => {
        const client = new RequestClient(request, reply)
        return acquireFor({ engine, settings, subject, identity, log: request.log, client }, reply, key)
      })
    })
  })
}

const UNPROTECTED = Promise.resolve(true)
const NOTHING_RUNS = Promise.resolve(false)

type RequestSubject = Subject & { request: FastifyRequest }

function acquireFor (
  contender: Contender & { subject: RequestSubject }, reply: FastifyReply, key: string
): Promise<boolean> {
  const { engine, settings, subject } = contender
  const { request } = subject
  // The request was answered while an option made it wait (`handlerTimeout`).
  if (reply.sent || request[kIdempotency] === ANSWERED) return NOTHING_RUNS
  return acquire(contender).then((acquired) => {
    if (acquired === 'bypass') return true
    const { attempt, sentAt } = acquired
    if (acquired.state === 'settled') {
      if (request[kIdempotency] === ANSWERED) return false
      const { outcome, recalled, cached } = acquired
      return answerWith(engine, subject, reply, key, outcome, { attempt, since: sentAt, recalled, cached })
    }
    const run = new Run(engine, subject, ownedBy(acquired.claim, attempt), settings, reply, sentAt)
    engine.leases.hold(run)
    return attempt === 1 && settings.journalLookup === 'retries'
      ? proceed(run, key, null)
      : recall(run).then(earlier => proceed(run, key, earlier))
  })
}

/** Replays an outcome. No handler runs. */
function answerWith (
  engine: Engine, subject: RequestSubject, reply: FastifyReply, key: string, outcome: Outcome, facts: ReplayFacts
): false {
  const response = keptResponseOf(engine, subject, outcome, facts)
  const { request, scope } = subject
  request.idempotency = new ReplayView(key, scope, facts.attempt)
  replay(request, reply, outcome.statusCode, response)
  return false
}

/** What the request is compared by, in the format of the records that are written and in the other one that is read. */
function identityOf (
  version: RecordVersion, settings: RouteSettings, fingerprintOf: Fingerprinter, request: FastifyRequest
): Identity | Promise<Identity> {
  const present = (): string | Promise<string> => takenFingerprint(fingerprintOf, request)
  const legacy = (): string | Promise<string> => legacyFingerprintOf(request, settings)
  const [written, other] = version === 1 ? [legacy, present] : [present, legacy]
  return readOption(
    written,
    fingerprint => ({ fingerprint: fingerprint as string, alternativeFingerprint: () => orNone(other) }),
    error => refuseForOption('fingerprint', request, error))
}

/**
 * The fingerprint in the other format; '' if there is none, or only as a promise. A body that cannot be compared in
 * that format has no record in it, and a store cannot wait.
 */
function orNone (take: () => string | Promise<string>): string {
  try {
    const taken = take()
    if (typeof taken === 'string') return taken
    taken.catch(() => {})
  } catch {
    // It cannot be compared, so there is no such record.
  }
  return ''
}

/** The run owns the key. Lets its handler run, unless an earlier attempt has committed an outcome. */
function proceed (run: Run, key: string, earlier: Outcome | null): boolean {
  const { engine, reply, request } = run
  if (reply.sent || request[kIdempotency] === ANSWERED) {
    // The outcome of an earlier attempt is on its way to the store already.
    if (earlier === null) void withdraw(engine, run)
    return false
  }
  if (earlier !== null) {
    const { owned: { attempt }, startedAt } = run
    return answerWith(engine, run, reply, key, earlier, { attempt, since: startedAt, recalled: true, cached: false })
  }
  watchReplies(reply)
  run.watchClient()
  engine.events.claimed(run)
  request[kIdempotency] = run
  request.idempotency = new RunView(key, run)
  return true
}
