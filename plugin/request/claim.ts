import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Engine } from '../engine.ts'
import { giveBack, noteClaimed, obtain } from '../obtain.ts'
import type { RouteSettings } from '../options.ts'
import type { Outcome } from '../store/store.ts'
import { fingerprintOf } from './fingerprint.ts'
import { readKey, readScope, recordId } from './key.ts'
import { recall } from './recall.ts'
import { replay } from './replay.ts'
import { Run, RunView } from './run.ts'
import { ANSWERED, kIdempotency } from './state.ts'
import { watchReplies } from './watch.ts'

/**
 * Claims the request's key, and resolves to whether its handler is to run. Where it is not, the request has been
 * answered with a replay.
 * @throws {IdempotencyError} what to answer instead
 */
export function claim (engine: Engine, settings: RouteSettings, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  const key = readKey(request, settings)
  if (key === undefined) return UNPROTECTED
  const scope = readScope(request, settings.scope)
  const subject = { request, scope, id: recordId(scope, key) }
  return obtain(engine, settings, subject, fingerprintOf(request, settings), request.log).then((obtained) => {
    if (obtained === 'bypass') return true
    const { result, claim, asked, recalled } = obtained
    if (result.state === 'settled') {
      replay(engine, subject, reply, key, result.attempt, result.outcome, { recalled, asked })
      return false
    }
    const run = new Run(subject, { ...claim, attempt: result.attempt }, settings, reply, asked)
    engine.leases.hold(run)
    return result.attempt === 1 && settings.journalLookup === 'retries'
      ? proceed(engine, run, key, null)
      : recall(engine, run).then(earlier => proceed(engine, run, key, earlier))
  })
}

const UNPROTECTED = Promise.resolve(true)

/** The key is the run's own: lets its handler run, unless an earlier attempt has committed an outcome. */
function proceed (engine: Engine, run: Run, key: string, earlier: Outcome | null): boolean {
  const { reply, request } = run
  if (reply.sent || request[kIdempotency] === ANSWERED) {
    engine.leases.letGo(run)
    giveBack(engine, run.id, run.owned, run.log)
    return false
  }
  if (earlier !== null) {
    replay(engine, run, reply, key, run.owned.attempt, earlier, { recalled: true, asked: run.began })
    return false
  }
  watchReplies(engine, reply)
  noteClaimed(engine, run)
  request[kIdempotency] = run
  request.idempotency = new RunView(key, run)
  return true
}
