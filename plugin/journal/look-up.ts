import type { FastifyBaseLogger } from 'fastify'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { IdempotencyError } from '../errors.ts'
import type { Journal, JournalEntry } from './journal.ts'

/**
 * What has been committed for an id, or `null`.
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
  return new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'Whether this request has been carried out before could not be found out: send it again later', { cause: bareError(cause) })
}
