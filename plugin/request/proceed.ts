import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Acquired, Contender, Engine } from '../core/engine.ts'
import { withdraw } from '../core/finish.ts'
import { keptResponseOf } from '../core/kept-response.ts'
import { ownedBy } from '../core/results.ts'
import type { Subject } from '../observe/channels.ts'
import type { ReplayFacts } from '../observe/events.ts'
import type { Outcome } from '../store/store.ts'
import { recall } from './recall.ts'
import { replay } from './replay.ts'
import { watchReplies } from './replies.ts'
import { Run } from './run.ts'
import { ANSWERED, isAnswered, kIdempotency } from './state.ts'
import { ReplayView, RunView } from './view.ts'

type RequestSubject = Subject & { request: FastifyRequest }

/**
 * Goes on with a request that has its key, or whose key has an outcome. A promise only where the journal has to be
 * asked.
 * @returns whether the handler is to run. If not, the request has been answered with a replay.
 * @throws {IdempotencyError} what to answer instead
 */
export function proceed (
  contender: Contender & { subject: RequestSubject }, reply: FastifyReply, key: string, acquired: Acquired
): boolean | Promise<boolean> {
  const { engine, settings, subject } = contender
  const { attempt, sentAt } = acquired
  if (acquired.state === 'settled') {
    if (subject.request[kIdempotency] === ANSWERED) return false
    const { outcome, recalled, cached } = acquired
    return answerWith(engine, subject, reply, key, outcome, { attempt, since: sentAt, recalled, cached })
  }
  const run = new Run(engine, subject, ownedBy(acquired.claim, attempt), settings, reply, sentAt)
  engine.leases.hold(run)
  return attempt === 1 && settings.journalLookup === 'retries'
    ? begin(run, key, null)
    : recall(run).then(earlier => begin(run, key, earlier))
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

/** The run owns the key. Lets its handler run, unless an earlier attempt has committed an outcome. */
function begin (run: Run, key: string, earlier: Outcome | null): boolean {
  const { engine, reply, request } = run
  if (isAnswered(request, reply)) {
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
