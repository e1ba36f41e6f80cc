import type { Outcome } from '../store/store.ts'

/**
 * Where outcomes stand beside the effects that they are the outcome of: in the app's own database, written in the
 * handler's own transaction. Redis may forget a key, and a process may die between the database's commit and the
 * storing of the answer; what the journal has was committed together with the effects, or not at all.
 */
export interface Journal {
  /**
   * Insert an outcome in the caller's transaction. `null`: in a transaction of the journal's own, which has been committed
   * when this resolves. No two transactions that do so for one id may both commit.
   * @throws {JournalConflictError} if an outcome is there; the transaction must not be able to commit
   * @throws {TypeError} if no transaction is open: what is written would stand, whatever becomes of the effects
   */
  record (tx: Queryable | null, id: string, entry: JournalEntry, keepFor: number): Promise<void>
  /** What was committed for an id and is not expired, or `null`. It must see what has been committed before the call. */
  find (id: string): Promise<JournalEntry | null>
  /** Delete one batch of expired entries. Resolves to whether there may be more. */
  purge (): Promise<boolean>
  /** Milliseconds between purges; 0: never. */
  readonly purgeInterval: number
  /**
   * Find out, before the app is ready, whether the others will work. Any error but the one below: that is not known yet.
   * @throws {JournalUnusableError} if they will not; it says what to do
   */
  check? (): Promise<void>
}

/** What an attempt committed. */
export interface JournalEntry {
  /** As in the claim. */
  readonly fingerprint: string
  readonly attempt: number
  /** That of the claim: whose outcome it is. */
  readonly owner: string
  readonly outcome: Outcome
}

/**
 * What is used of a database client or pool: `pg`'s, `@fastify/postgres`'s, PGlite's; or one that resolves to the rows
 * themselves, such as TypeORM's and pg-promise's.
 */
export interface Queryable {
  query (text: string, values: unknown[]): Promise<{ rows: unknown[] } | unknown[]>
}

/** An outcome of the same operation is there. */
export class JournalConflictError extends Error {
  override name = 'JournalConflictError'
  /** Whose it is; `null` if that could not be seen. */
  readonly owner: string | null

  constructor (message: string, { cause, owner = null }: { cause?: unknown, owner?: string | null } = {}) {
    super(message, { cause })
    this.owner = owner
  }
}

/** The journal's database is not as it must be. */
export class JournalUnusableError extends Error {
  override name = 'JournalUnusableError'
}
