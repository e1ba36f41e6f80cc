import type { FastifyBaseLogger } from 'fastify'
import type { Journal, JournalEntry } from '../journal/journal.ts'
import { journalUnavailable } from '../refusals.ts'
import { factsOf } from '../shared/error-facts.ts'

/**
 * The journal entry of a record id, or `null`.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_STORE_UNAVAILABLE` if the journal cannot be asked
 */
export async function lookUp (journal: Journal, id: string, log: FastifyBaseLogger): Promise<JournalEntry | null> {
  try {
    return await journal.find(id)
  } catch (err) {
    log.error({ err: factsOf(err) }, 'idempotency: the journal did not answer')
    throw journalUnavailable(err)
  }
}
