import { StoreTimeoutError } from '../errors.ts'
import { anInteger, checkOptions, MAX_TIMER, withoutUndefined } from '../shared/check-options.ts'
import type { RulesOf } from '../shared/check-options.ts'
import { bareError } from '../shared/error-facts.ts'
import { IdempotencyOptionError } from '../shared/option-error.ts'
import { isDoneWithin } from '../shared/wait.ts'
import { checkDatabase } from './check.ts'
import { JournalConflictError } from './journal.ts'
import type { Journal, Queryable } from './journal.ts'
import { bytesOf, codeOf, entryOf, query, valuesOf } from './rows.ts'
import type { Row } from './rows.ts'
import { aTableName, journalStatements, quotedTable } from './schema.ts'
import { statementsFor } from './statements.ts'

export { journalSchema } from './schema.ts'
export { JournalConflictError, JournalUnusableError } from './journal.ts'
export type { Journal, JournalEntry, Queryable } from './journal.ts'

export interface PostgresJournalOptions {
  /**
   * A lower-case name, with or without a schema before it. Each service needs a table of its own. Default
   * `'idempotency_journal'`.
   */
  table?: string
  /** Milliseconds: the longest wait for an answer of the database. Default 5 000. */
  timeout?: number
  /** Milliseconds between purges of expired entries. 0: the journal never purges, and you do it. Default 60 000. */
  purgeInterval?: number
  /** How many rows one purging statement deletes at most. Default 1 000. */
  purgeBatch?: number
}

export interface PostgresJournal extends Journal {
  /** Create the table if it does not exist, with `client` (such as a migration's) or with the journal's own pool. */
  createTable (client?: Queryable): Promise<void>
}

const RULES: RulesOf<PostgresJournalOptions> = {
  table: aTableName,
  timeout: anInteger(1, MAX_TIMER, 'milliseconds'),
  purgeInterval: anInteger(0, MAX_TIMER, 'milliseconds'),
  purgeBatch: anInteger(1, MAX_TIMER, 'rows')
}

const DEFAULTS = { timeout: 5_000, purgeInterval: 60_000, purgeBatch: 1_000 }

const UNIQUE_VIOLATION = '23505'

const NO_TRANSACTION = 'postgresJournal: the outcome must be recorded in the transaction of its effects, and this ' +
  'client is not in one. It takes the client that BEGIN was sent by, such as that of ' +
  'app.pg.transact(async (tx) => …), not a pool'

/**
 * A journal in a table of the app's own Postgres.
 * @param db a pool, such as `app.pg`, with which the journal is read and purged, outside of transactions. It must be a
 *   pool of the primary server: a replica may lack what was committed last
 * @throws {IdempotencyOptionError} that names the option and what it must be
 */
export function postgresJournal (db: Queryable, options: PostgresJournalOptions = {}): PostgresJournal {
  checkQueryable(db)
  checkOptions('postgresJournal', RULES, options)
  const { timeout, purgeInterval, purgeBatch } = { ...DEFAULTS, ...withoutUndefined(options) }
  const table = quotedTable(options.table)
  const statements = statementsFor(table)

  /** Resolves to whether the entry was written. */
  async function put (tx: Queryable, values: unknown[], alone: boolean): Promise<boolean> {
    let [row] = await query<{ put: number, open: boolean }>(tx, statements.put, [...values, alone])
    if (row?.open !== true) {
      await tx.query(statements.open, [])
      ;[row] = await query<{ put: number, open: boolean }>(tx, statements.put, [...values, alone])
      if (row?.open !== true) throw new TypeError(NO_TRANSACTION)
    }
    return row.put === 1
  }

  async function record (tx: Queryable, values: unknown[], alone: boolean): Promise<void> {
    if (await put(tx, values, alone)) return
    const [holder] = await query<{ owner: string }>(tx, statements.holder, values.slice(0, 1))
    try {
      // This statement fails, and so the transaction cannot commit even if the caller ignores the error.
      await tx.query(statements.insert, values)
    } catch (cause) {
      if (codeOf(cause, code => code === UNIQUE_VIOLATION) === undefined) throw cause
      throw new JournalConflictError('The outcome of this operation has been committed before', {
        cause: bareError(cause),
        owner: holder?.owner ?? null
      })
    }
  }

  /** @throws {StoreTimeoutError} if the database takes longer than `timeout` */
  async function inTime<T> (answer: Promise<T>): Promise<T> {
    if (await isDoneWithin(answer, timeout)) return answer
    throw new StoreTimeoutError(`The idempotency journal did not answer within ${timeout} ms`)
  }

  return {
    purgeInterval,

    async record (tx, id, entry, keepFor) {
      const values = valuesOf(id, entry, keepFor)
      await (tx === null ? inTime(record(db, values, true)) : record(tx, values, false))
    },

    async find (id) {
      const [row] = await inTime(query<Row>(db, statements.find, [bytesOf(id)]))
      return row === undefined ? null : entryOf(row)
    },

    async purge () {
      const [row] = await query<{ purged: number }>(db, statements.purge, [purgeBatch])
      return row?.purged === purgeBatch
    },

    async check () {
      await inTime(checkDatabase(db, statements.check, table))
    },

    async createTable (client = db) {
      for (const statement of journalStatements(options.table)) await client.query(statement, [])
    }
  }
}

function checkQueryable (db: Queryable): void {
  if (typeof (db as Partial<Queryable> | undefined)?.query === 'function') return
  throw new IdempotencyOptionError('postgresJournal: the first argument must be a database client or pool with a ' +
    'query method, such as app.pg')
}
