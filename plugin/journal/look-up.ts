import type { FastifyBaseLogger } from 'fastify'
import { IdempotencyError } from '../errors.ts'
import { bareError, factsOf } from '../shared/error-facts.ts'
import type { Journal, JournalEntry } from './journal.ts'

/**
 * The journal entry of an id, or `null`.
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

export function journalUnavailable (cause: unknown): IdempotencyError {
  const detail = 'Whether this request has been carried out before could not be found out: send it again later'
  return new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', detail, { cause: bareError(cause) })
}
