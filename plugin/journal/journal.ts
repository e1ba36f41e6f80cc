import type { Outcome } from '../store/store.ts'

/**
 * Where outcomes stand beside the effects that they are the outcome of: in the app's own database, written in the
 * handler's own transaction. Redis may forget a key, and a process may die between the database's commit and the
 * storing of the answer; what the journal has was committed together with the effects, or not at all.
 */
export interface Journal {
  /**
   * Insert an outcome in the caller's transaction. No two transactions that do so for one id may both commit.
   * @throws {JournalConflictError} if another attempt's outcome is there; the transaction must not be able to commit
   */
  record (tx: Queryable, id: string, entry: JournalEntry, keepFor: number): Promise<void>
  /** What was committed for an id and is not expired, or `null`. */
  find (id: string): Promise<JournalEntry | null>
  /** Delete one batch of expired entries. Resolves to whether there may be more. */
  purge (): Promise<boolean>
  /** Milliseconds between purges; 0: never. */
  readonly purgeInterval: number
}

/** What an attempt committed. */
export interface JournalEntry {
  /** As in the claim. */
  readonly fingerprint: string
  readonly attempt: number
  readonly outcome: Outcome
}

/** What is used of a database client or pool: `pg`'s, `@fastify/postgres`'s, PGlite's. */
export interface Queryable {
  query (text: string, values: unknown[]): Promise<{ rows: unknown[] }>
}

/** Another attempt of the same operation has committed its outcome. */
export class JournalConflictError extends Error {
  override name = 'JournalConflictError'
}
