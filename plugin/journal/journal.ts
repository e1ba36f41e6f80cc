import type { Outcome } from '../store/store.ts'

/**
 * Keeps outcomes in the app's own database, written in the transaction of the handler's effects. Redis may forget a
 * key, and a process may die after the database has committed and before the answer is stored. An entry of the journal
 * is committed together with the effects, or not at all.
 */
export interface Journal {
  /**
   * Insert an outcome in the caller's transaction. `tx` is `null`: in a transaction of the journal's own, which has
   * been committed when this resolves. Of two transactions that insert an outcome for the same id only one may commit.
   * @throws {JournalConflictError} if the id has an outcome; the transaction must not be able to commit then
   * @throws {TypeError} if no transaction is open: the outcome would be kept even if the effects are rolled back
   */
  record (tx: Queryable | null, id: string, entry: JournalEntry, keepFor: number): Promise<void>
  /** The committed entry of an id that has not expired, or `null`. It must see everything that was committed before. */
  find (id: string): Promise<JournalEntry | null>
  /** Delete one batch of expired entries. Resolves to whether there may be more. */
  purge (): Promise<boolean>
  /** Milliseconds between purges. 0: never. */
  readonly purgeInterval: number
  /**
   * Find out, before the app is ready, whether the other methods will work. Any error but the one below means that this
   * is not known yet.
   * @throws {JournalUnusableError} if they will not work; it says what to do
   */
  check? (): Promise<void>
}

/** What an attempt committed. */
export interface JournalEntry {
  /** The fingerprint of the claim. */
  readonly fingerprint: string
  readonly attempt: number
  /** The owner of the claim, whose outcome this is. */
  readonly owner: string
  readonly outcome: Outcome
}

/**
 * The part of a database client or pool that the journal uses: that of `pg`, `@fastify/postgres` or PGlite, or one
 * whose `query` resolves to the rows themselves, such as that of TypeORM or pg-promise.
 */
export interface Queryable {
  query (text: string, values: unknown[]): Promise<{ rows: unknown[] } | unknown[]>
}

/** The journal has an outcome of the same operation already. */
export class JournalConflictError extends Error {
  override name = 'JournalConflictError'
  /** The owner of that outcome, or `null` if it could not be read. */
  readonly owner: string | null

  constructor (message: string, { cause, owner = null }: { cause?: unknown, owner?: string | null } = {}) {
    super(message, { cause })
    this.owner = owner
  }
}

/** The journal's database is set up in a way with which the journal does not work. */
export class JournalUnusableError extends Error {
  override name = 'JournalUnusableError'
}
