import { randomBytes } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { JournalUnusableError } from './journal.ts'
import type { Journal, Queryable } from './journal.ts'
import { codeOf, query } from './rows.ts'

/**
 * Before the app is ready: whether its journals will work on the day that they are needed. A database that cannot be
 * reached now is not a wrong one: the app starts, as it does without Redis, and refuses what it cannot protect.
 * @throws {JournalUnusableError} saying what to do
 */
export async function checkJournals (journals: Iterable<Journal>, log: FastifyBaseLogger): Promise<void> {
  await Promise.all(Array.from(journals, async (journal) => {
    try {
      await journal.check?.()
    } catch (err) {
      if (err instanceof JournalUnusableError) throw err
      log.warn({ err: factsOf(err) }, 'idempotency: the journal could not be checked, since its database did not answer')
    }
  }))
}

/** The database understood the question, and it is wrong here: no table, no such column, no right to read it. */
function isRefusal (code: string): boolean {
  return /^(?:0A|22|3F|42)[0-9A-Z]{3}$/.test(code)
}

/**
 * Asks a Postgres for all that the journal's statements name, and for bytes, which drivers hand out in many ways.
 * @throws {JournalUnusableError} if it cannot be the journal's
 */
export async function checkDatabase (db: Queryable, statement: string, table: string): Promise<void> {
  const sent = randomBytes(32)
  let rows
  try {
    rows = await query<{ id?: unknown, replica?: unknown }>(db, statement, [sent])
  } catch (cause) {
    const code = cause instanceof TypeError ? 'TypeError' : codeOf(cause, isRefusal)
    if (code === undefined) throw cause
    throw new JournalUnusableError(`fastify-idempotency: the journal cannot be used: ${whatToDo(code, table)} (${(cause as Error).message})`, { cause: bareError(cause) })
  }
  const [row] = rows
  if (!(row?.id instanceof Uint8Array) || !sent.equals(row.id)) {
    throw new JournalUnusableError('fastify-idempotency: the journal cannot be used: the query method of its database must hand out bytea as a Buffer or Uint8Array, in an object by column name')
  }
  if (row.replica === true) {
    throw new JournalUnusableError('fastify-idempotency: the journal cannot be used: its database is a replica, which lags behind what was committed. Give postgresJournal() the primary')
  }
}

function whatToDo (code: string, table: string): string {
  switch (code) {
    case '42P01':
    case '3F000':
      return `its table ${table} is not there. Create it before the app is made ready, by "await journal.createTable()" or with the SQL of fastify-idempotency/postgres.sql in a migration`
    case '42703':
      return `its table ${table} lacks a column. Is it that of another version of fastify-idempotency, or of something else?`
    case '42501':
      return `SELECT, INSERT, UPDATE and DELETE on its table ${table} must be granted to who looks it up`
    case '42883':
      return 'its database is not Postgres 10 or later'
    default:
      return 'its database does not take query(text, values) as that of pg does, with $1 for the first value, and resolve to { rows } or an array of rows'
  }
}
