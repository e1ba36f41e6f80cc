import type { FastifyReply } from 'fastify'
import { channels, eventOf } from '../diagnostics.ts'
import { IdempotencyError } from '../errors.ts'
import { lookUp } from '../journal/look-up.ts'
import type { Outcome } from '../store/store.ts'
import { applyKept, resetHeaders } from './headers.ts'
import { complete, release } from './outcome.ts'
import { keyReused, problemOf, refusalHeaders } from './refuse.ts'
import { bodyOf, replayableResponse, REPLAYED } from './replay.ts'
import type { Run } from './run.ts'
import type { Engine } from '../engine.ts'

/**
 * Looks up what an earlier attempt committed, and stores it anew, since Redis lost it or never got it. `null` if no
 * attempt has committed anything. Otherwise, or if it throws, the run's own part is over.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_REUSED` if the key was used for another request;
 *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE` if the journal cannot be asked: the key is released then
 */
export async function recall (engine: Engine, run: Run): Promise<Outcome | null> {
  const { journal } = run.settings
  if (journal === false) return null
  let entry
  try {
    entry = await lookUp(journal, run.id, run.log)
  } catch (error) {
    await release(engine, run, null)
    throw error
  }
  if (entry === null) return null
  await complete(engine, run, entry.outcome, entry.fingerprint)
  if (entry.fingerprint !== run.owned.fingerprint) {
    engine.counts.mismatches++
    if (channels.mismatched.hasSubscribers) channels.mismatched.publish(eventOf(run, run.owned.attempt, run.began))
    throw keyReused()
  }
  engine.counts.recalled++
  return entry.outcome
}

/** What to send of a run whose part is over. */
interface Decision {
  payload: unknown
  /** Whether that is something else than what the handler answered. */
  replaced: boolean
}

/**
 * What to send, on a route with a journal, when the handler has answered otherwise than with what it recorded: what was
 * committed, by this or an earlier attempt. The handler may have seen the effects of that one and not known that they
 * are this very operation's. `null`: nothing was, and the handler's answer stands for itself.
 * @param keepable whether the handler's answer would be kept if it stood for itself
 */
export async function answerByJournal (engine: Engine, run: Run, reply: FastifyReply, payload: unknown, keepable: boolean): Promise<Decision | null> {
  try {
    const outcome = await recall(engine, run)
    if (outcome !== null) return { payload: replaceBy(engine, outcome, run, reply), replaced: true }
  } catch (error) {
    if (!(error instanceof IdempotencyError)) throw error
    // The handler's own failure tells as much: nothing is known to be done, try again.
    if (error.retryable && !keepable) return { payload, replaced: false }
    return { payload: refuseInstead(engine, run, reply, error), replaced: true }
  }
  if (!run.recording) return null
  // The transaction was rolled back, or its commit has not arrived yet: the next attempt will see.
  await release(engine, run, reply.statusCode)
  return { payload, replaced: false }
}

/** Sends a problem in place of the handler's answer. */
export function refuseInstead (engine: Engine, run: Run, reply: FastifyReply, error: IdempotencyError): Buffer {
  run.stage = 'settled'
  resetHeaders(reply, run.headersBefore)
  refusalHeaders(reply, error, engine.settings, run.settings)
  if (engine.settings.errors === 'error-handler') throw error
  return problemOf(reply, error, engine.settings)
}

function replaceBy (engine: Engine, outcome: Outcome, run: Run, reply: FastifyReply): string | Buffer | null {
  const response = replayableResponse(engine, run, run.owned.attempt, outcome, { recalled: true, asked: run.began })
  resetHeaders(reply, run.headersBefore)
  applyKept(reply, response.headers)
  reply.code(outcome.statusCode).header(REPLAYED, 'true')
  return bodyOf(response.body)
}
