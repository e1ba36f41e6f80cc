import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Subject } from '../observe/channels.ts'
import type { Engine } from '../core/engine.ts'
import { noteClaimed, obtain } from '../core/acquire.ts'
import type { RouteSettings } from '../options.ts'
import { ownedBy } from '../core/contender.ts'
import type { Pursuit } from '../core/contender.ts'
import type { Identity } from '../core/same-request.ts'
import type { RecordVersion } from '../store/record.ts'
import type { Outcome } from '../store/store.ts'
import { andThen, later, refuseFor } from './answers-of-options.ts'
import { RequestClient } from './connection.ts'
import type { Fingerprinter } from './fingerprint.ts'
import { legacyFingerprintOf } from './legacy-fingerprint.ts'
import { readKey, readScope, recordId } from './key.ts'
import { withdraw } from '../core/finish.ts'
import { recall } from './recall.ts'
import { replay } from './replay.ts'
import { Run, RunView } from './run.ts'
import { ANSWERED, kIdempotency } from './state.ts'
import { takenFingerprint } from './take-fingerprint.ts'
import { watchReplies } from './watch.ts'

/**
 * Claims the request's key, and resolves to whether its handler is to run. Where it is not, the request has been
 * answered with a replay. Waits for those options that return promises.
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
        return claimFor({ engine, settings, subject, identity, log: request.log, client }, reply, key)
      })
    })
  })
}

const UNPROTECTED = Promise.resolve(true)
const NOTHING_RUNS = Promise.resolve(false)

type RequestPursuit = Pursuit & { subject: Subject & { request: FastifyRequest } }

function claimFor (pursuit: RequestPursuit, reply: FastifyReply, key: string): Promise<boolean> {
  const { engine, settings, subject } = pursuit
  const { request } = subject
  // While an option made it wait (`handlerTimeout`).
  if (reply.sent || request[kIdempotency] === ANSWERED) return NOTHING_RUNS
  return obtain(pursuit).then((obtained) => {
    if (obtained === 'bypass') return true
    const { result, claim, asked, recalled } = obtained
    if (result.state === 'settled') {
      if (request[kIdempotency] === ANSWERED) return false
      replay(engine, subject, reply, key, result.attempt, result.outcome, { recalled, asked })
      return false
    }
    const run = new Run(engine, subject, ownedBy(claim, result.attempt), settings, reply, asked)
    engine.leases.hold(run)
    return result.attempt === 1 && settings.journalLookup === 'retries'
      ? proceed(engine, run, key, null)
      : recall(engine, run).then(earlier => proceed(engine, run, key, earlier))
  })
}

/** What the request is compared by, in the format of the records that are written and in the other one that is read. */
function identityOf (
  version: RecordVersion, settings: RouteSettings, fingerprintOf: Fingerprinter, request: FastifyRequest
): Identity | Promise<Identity> {
  const present = (): string | Promise<string> => takenFingerprint(fingerprintOf, request)
  const legacy = (): string | Promise<string> => legacyFingerprintOf(request, settings)
  const [written, other] = version === 1 ? [legacy, present] : [present, legacy]
  return later(
    written,
    fingerprint => ({ fingerprint: fingerprint as string, alternativeFingerprint: () => orNone(other) }),
    error => refuseFor('fingerprint', request, error))
}

/**
 * A body that cannot be compared in the other format has no record in it. Nor has one that is compared by a function
 * which is asynchronous this time only: a store compares at once.
 */
function orNone (take: () => string | Promise<string>): string {
  try {
    const taken = take()
    if (typeof taken === 'string') return taken
    taken.catch(() => {})
  } catch {
    // Said above.
  }
  return ''
}

/** The key is the run's own: lets its handler run, unless an earlier attempt has committed an outcome. */
function proceed (engine: Engine, run: Run, key: string, earlier: Outcome | null): boolean {
  const { reply, request } = run
  if (reply.sent || request[kIdempotency] === ANSWERED) {
    // What an earlier attempt committed is on its way to the store.
    if (earlier === null) void withdraw(engine, run)
    return false
  }
  if (earlier !== null) {
    replay(engine, run, reply, key, run.owned.attempt, earlier, { recalled: true, asked: run.began })
    return false
  }
  watchReplies(engine, reply)
  run.watchClient()
  noteClaimed(engine, run)
  request[kIdempotency] = run
  request.idempotency = new RunView(key, run)
  return true
}
