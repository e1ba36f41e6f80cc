import type { FastifyReply } from 'fastify'
import { channels, eventOf } from '../observe/channels.ts'
import { IdempotencyError } from '../errors.ts'
import type { JournalEntry } from '../journal/journal.ts'
import { lookUp } from '../journal/look-up.ts'
import { isSameRequest } from '../core/same-request.ts'
import type { Outcome } from '../store/store.ts'
import { applyKept, resetHeaders } from './headers.ts'
import { complete, release, withdraw } from '../core/finish.ts'
import { isRecorded } from './record.ts'
import type { Recorded } from './record.ts'
import { journalInconsistent, keyReused, notCommitted, problemOf, refusalHeaders } from './refuse.ts'
import { keptBody, replayableResponse, REPLAYED } from './replay.ts'
import type { Run } from './run.ts'
import { kIdempotency, Replay } from './state.ts'
import type { Engine } from '../core/engine.ts'

/**
 * Before anything runs: looks up what an earlier attempt committed, and stores it anew, since Redis lost it or never got it. `null` if no
 * attempt has committed anything. Otherwise, or if it throws, the run's own part is over.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_REUSED` if the key was used for another request;
 *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE` if the journal cannot be asked: the claim is undone then
 */
export async function recall (engine: Engine, run: Run): Promise<Outcome | null> {
  let entry
  try {
    entry = await ask(run)
  } catch (error) {
    await withdraw(engine, run)
    throw error
  }
  return entry === null ? null : adopt(engine, run, entry)
}

async function ask ({ settings: { journal }, id, log }: Run): Promise<JournalEntry | null> {
  return journal === false ? null : await lookUp(journal, id, log)
}

async function askOrRelease (engine: Engine, run: Run): Promise<JournalEntry | null> {
  try {
    return await ask(run)
  } catch (error) {
    await release(engine, run, null)
    throw error
  }
}

async function adopt (engine: Engine, run: Run, entry: JournalEntry): Promise<Outcome> {
  const isSame = isSameRequest(run.owned, entry.fingerprint)
  await complete(engine, run, entry.outcome, isSame ? undefined : entry.fingerprint)
  if (!isSame) {
    engine.counts.mismatches++
    if (channels.mismatched.hasSubscribers) channels.mismatched.publish(eventOf(run, run.owned.attempt, run.began))
    throw keyReused()
  }
  engine.counts.recalled++
  return entry.outcome
}

/** What to send on a route with a journal. */
export type Decision =
  /** What the handler recorded: it has committed. */
  | { send: 'recorded', recorded: Recorded }
  /** What the handler answers. Its outcome is not known yet, or not decided by it. */
  | { send: 'payload' }
  /** What the handler answers, which stands for itself: no attempt has committed anything. */
  | { send: 'own' }
  /** Something else, with which the run is over. */
  | { send: 'other', payload: string | Buffer | null }

/**
 * What to send, on a route with a journal, when the handler has answered: what was committed, by this or an earlier
 * attempt. That this one has recorded its answer does not say that it was committed, even if it answers with it: a
 * failed statement whose error was swallowed turns COMMIT into ROLLBACK, without an error. And the handler may have seen
 * the effects of an earlier attempt and not known that they are this very operation's.
 * @param keepable whether the handler's answer would be kept if it stood for itself
 */
export async function answerByJournal (engine: Engine, run: Run, reply: FastifyReply, payload: unknown, keepable: boolean): Promise<Decision> {
  const { recorded } = run
  const answersRecorded = recorded !== null && isRecorded(recorded, reply.statusCode, payload)
  try {
    const entry = await askOrRelease(engine, run)
    if (recorded !== null && entry?.owner === run.owned.owner) return { send: 'recorded', recorded }
    if (entry !== null) return { send: 'other', payload: replaceBy(engine, await adopt(engine, run, entry), run, reply) }
  } catch (error) {
    if (!(error instanceof IdempotencyError)) throw error
    // The handler's own failure tells as much: nothing is known to be done, try again.
    if (error.retryable && !keepable && !answersRecorded) return { send: 'payload' }
    return { send: 'other', payload: refuseInstead(engine, run, reply, error) }
  }
  return run.recording || run.refused ? nothingFound(engine, run, reply, answersRecorded) : { send: 'own' }
}

/** The journal was written to, and has nothing. */
async function nothingFound (engine: Engine, run: Run, reply: FastifyReply, answersRecorded: boolean): Promise<Decision> {
  await release(engine, run, reply.statusCode)
  if (run.refused) {
    run.log.error('idempotency: the journal has the outcome of another attempt, and does not show it: does it look elsewhere than the transaction wrote?')
    return { send: 'other', payload: refuseInstead(engine, run, reply, journalInconsistent()) }
  }
  if (answersRecorded) {
    run.log.error('idempotency: the handler answers with what it recorded, but the journal does not have it: was its transaction rolled back, is it still open, or does the journal look elsewhere?')
    return { send: 'other', payload: refuseInstead(engine, run, reply, notCommitted()) }
  }
  // The transaction was rolled back, or its commit has not arrived yet: the next attempt will see.
  return { send: 'payload' }
}

/** Makes the reply the one that was recorded: a first answer, whatever the handler made of it after the commit. */
export function applyRecorded (reply: FastifyReply, { headers, headersBefore, outcome: { statusCode } }: Recorded): void {
  // It failed after the commit. What tells of the failure goes.
  if (reply.statusCode >= 400 && reply.statusCode !== statusCode) resetHeaders(reply, headersBefore)
  if (headers['content-type'] === undefined) reply.removeHeader('content-type')
  reply.code(statusCode).headers(headers)
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
  const replay = run.request[kIdempotency] = new Replay(outcome.statusCode, response, keptBody(response), run.headersBefore)
  // The body is put in place here.
  replay.restored = true
  applyKept(reply, response.headers)
  reply.code(outcome.statusCode).header(REPLAYED, 'true')
  return replay.body
}
