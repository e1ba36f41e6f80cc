import { bareError } from '../shared/error-facts.ts'
import { StoreTimeoutError } from '../errors.ts'
import { checkDatabase } from './check.ts'
import { JournalConflictError } from './journal.ts'
import type { Journal, Queryable } from './journal.ts'
import { ask, bytesOf, codeOf, entryOf, valuesOf } from './rows.ts'
import type { Row } from './rows.ts'
import { journalStatements, quotedTable } from './schema.ts'
import { statementsFor } from './statements.ts'

export { journalSchema } from './schema.ts'
export { JournalConflictError, JournalUnusableError } from './journal.ts'
export type { Journal, JournalEntry, Queryable } from './journal.ts'

export interface PostgresJournalOptions {
  /** A lower-case name, with or without a schema before it. Default `'idempotency_journal'`. One for each service. */
  table?: string
  /** Milliseconds: the longest wait for a look into the journal. Default 5 000. */
  timeout?: number
  /** Milliseconds between purges of what expired; 0: never, you do it. Default 60 000. */
  purgeInterval?: number
  /** How many rows one purging statement deletes at most. Default 1 000. */
  purgeBatch?: number
}

export interface PostgresJournal extends Journal {
  /** Create the table if it is not there, by `client` (that of a migration's transaction, say) or by the journal's own. */
  createTable (client?: Queryable): Promise<void>
}

const UNIQUE_VIOLATION = '23505'

/**
 * A journal in a table of the app's own Postgres.
 * @param db what looks the journal up and purges it, outside of transactions: a pool such as `app.pg`. Of the primary
 *   server: a replica may not have yet what was committed
 * @throws {TypeError} naming the option that is wrong
 */
export function postgresJournal (db: Queryable, options: PostgresJournalOptions = {}): PostgresJournal {
  const { table, timeout, purgeInterval, purgeBatch } = check(db, options)
  const statements = statementsFor(table)

  /** Resolves to whether the entry was written. */
  async function put (tx: Queryable, values: unknown[], alone: boolean): Promise<boolean> {
    let [row] = await ask<{ put: number, open: boolean }>(tx, statements.put, [...values, alone])
    if (row?.open !== true) {
      await tx.query(statements.open, [])
      ;[row] = await ask<{ put: number, open: boolean }>(tx, statements.put, [...values, alone])
      if (row?.open !== true) throw new TypeError(NO_TRANSACTION)
    }
    return row.put === 1
  }

  async function record (tx: Queryable, values: unknown[], alone: boolean): Promise<void> {
    if (await put(tx, values, alone)) return
    const [holder] = await ask<{ owner: string }>(tx, statements.holder, values.slice(0, 1))
    try {
      // Fails, and with it the transaction, even if the caller goes on.
      await tx.query(statements.insert, values)
    } catch (cause) {
      if (codeOf(cause, code => code === UNIQUE_VIOLATION) === undefined) throw cause
      throw new JournalConflictError('The outcome of this operation has been committed before', { cause: bareError(cause), owner: holder?.owner ?? null })
    }
  }

  return {
    purgeInterval,

    async record (tx, id, entry, keepFor) {
      const values = valuesOf(id, entry, keepFor)
      await (tx === null ? within(timeout, record(db, values, true)) : record(tx, values, false))
    },

    async find (id) {
      const [row] = await within(timeout, ask<Row>(db, statements.find, [bytesOf(id)]))
      return row === undefined ? null : entryOf(row)
    },

    async purge () {
      const [row] = await ask<{ purged: number }>(db, statements.purge, [purgeBatch])
      return row?.purged === purgeBatch
    },

    async check () {
      await within(timeout, checkDatabase(db, statements.check, table))
    },

    async createTable (client = db) {
      for (const statement of journalStatements(options.table)) await client.query(statement, [])
    }
  }
}

const NO_TRANSACTION = 'postgresJournal: the outcome must be recorded in the transaction of its effects, and this client is not in one. It takes the client that BEGIN was sent by, such as that of app.pg.transact(async (tx) => …), not a pool'

async function within<T> (milliseconds: number, query: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new StoreTimeoutError(`The idempotency journal did not answer within ${milliseconds} ms`)), milliseconds)
  })
  try {
    return await Promise.race([query, expired])
  } finally {
    clearTimeout(timer)
  }
}

function check (db: Queryable, options: PostgresJournalOptions): Required<PostgresJournalOptions> {
  if (typeof (db as Partial<Queryable> | undefined)?.query !== 'function') {
    throw new TypeError('postgresJournal: the first argument must be a database client or pool with a query method, such as app.pg')
  }
  for (const name of Object.keys(options)) {
    if (!['table', 'timeout', 'purgeInterval', 'purgeBatch'].includes(name)) {
      throw new TypeError(`postgresJournal: unknown option "${name}"; known are table, timeout, purgeInterval, purgeBatch`)
    }
  }
  return {
    table: quotedTable(options.table),
    timeout: whole('timeout', options.timeout ?? 5_000, 1),
    purgeInterval: whole('purgeInterval', options.purgeInterval ?? 60_000, 0),
    purgeBatch: whole('purgeBatch', options.purgeBatch ?? 1_000, 1)
  }
}

function whole (name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least && value < 2 ** 31) return value
  throw new TypeError(`postgresJournal: option "${name}" must be a whole number from ${least} to ${2 ** 31 - 1}, got ${String(value)}`)
}
