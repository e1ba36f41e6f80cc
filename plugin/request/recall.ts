import { complete, withdraw } from '../core/finish.ts'
import { lookUp } from '../core/look-up.ts'
import { isSameRequest } from '../core/same-request.ts'
import type { JournalEntry } from '../journal/journal.ts'
import { keyReused } from '../refusals.ts'
import type { Outcome } from '../store/store.ts'
import type { Run } from './run.ts'

/**
 * Before the handler runs: asks the journal what an earlier attempt committed, and stores that outcome again, since
 * Redis lost it or never got it.
 * @returns the outcome, with which the run is over; `null` if no attempt has committed one
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_REUSED` if the outcome belongs to another request;
 *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE` if the journal cannot be asked: the claim is undone then
 */
export async function recall (run: Run): Promise<Outcome | null> {
  const { settings: { journal }, id, log } = run
  if (journal === false) return null
  let entry: JournalEntry | null
  try {
    entry = await lookUp(journal, id, log)
  } catch (error) {
    await withdraw(run.engine, run)
    throw error
  }
  if (entry === null) return null
  if (!await storeEntry(run, entry)) throw keyReused()
  return entry.outcome
}

/**
 * Stores the outcome of a journal entry, under the fingerprint of the request that it belongs to.
 * @returns whether that request is the run's own
 */
export async function storeEntry (run: Run, { outcome, fingerprint }: JournalEntry): Promise<boolean> {
  const { engine, owned } = run
  const isOwn = isSameRequest(owned, fingerprint)
  await complete(engine, run, outcome, isOwn ? undefined : fingerprint)
  if (isOwn) engine.events.recalled()
  else engine.events.mismatched(run, owned.attempt, run.startedAt)
  return isOwn
}
