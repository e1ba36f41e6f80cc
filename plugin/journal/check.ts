import { randomBytes } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { JournalUnusableError } from './journal.ts'
import type { Journal, Queryable } from './journal.ts'
import { codeOf, query } from './rows.ts'

/**
 * Finds out, before the app is ready, whether its journals can be used. If a database cannot be reached, the app starts
 * all the same, as it does without Redis, and refuses requests that it cannot protect.
 * @throws {JournalUnusableError} that says what to do
 */
export async function checkJournals (journals: Iterable<Journal>, log: FastifyBaseLogger): Promise<void> {
  await Promise.all(Array.from(journals, async (journal) => {
    try {
      await journal.check?.()
    } catch (err) {
      if (err instanceof JournalUnusableError) throw err
      log.warn({ err: factsOf(err) }, 'idempotency: the journal could not be checked, ' +
        'since its database did not answer')
    }
  }))
}

/** Whether the database refused the statement itself: it lacks the table or a column, or the right to read them. */
function isRefusal (code: string): boolean {
  return /^(?:0A|22|3F|42)[0-9A-Z]{3}$/.test(code)
}

/**
 * Queries everything that the journal's statements name, and bytes, which drivers return in different forms.
 * @throws {JournalUnusableError} if the journal cannot use this database
 */
export async function checkDatabase (db: Queryable, statement: string, table: string): Promise<void> {
  const sent = randomBytes(32)
  let rows
  try {
    rows = await query<{ id?: unknown, replica?: unknown }>(db, statement, [sent])
  } catch (cause) {
    const code = cause instanceof TypeError ? 'TypeError' : codeOf(cause, isRefusal)
    if (code === undefined) throw cause
    throw unusable(`${whatToDo(code, table)} (${(cause as Error).message})`, cause)
  }
  const [row] = rows
  if (!(row?.id instanceof Uint8Array) || !sent.equals(row.id)) {
    throw unusable('the query method of its database must return bytea as a Buffer or Uint8Array, in an object with ' +
      'the column names as keys')
  }
  if (row.replica === true) {
    throw unusable('its database is a replica, which may lack what was committed last. Give postgresJournal() the ' +
      'primary')
  }
}

function unusable (what: string, cause?: unknown): JournalUnusableError {
  const message = `fastify-idempotency: the journal cannot be used: ${what}`
  return new JournalUnusableError(message, cause === undefined ? {} : { cause: bareError(cause) })
}

function whatToDo (code: string, table: string): string {
  switch (code) {
    case '42P01':
    case '3F000':
      return `its table ${table} does not exist. Create it before the app is made ready, by ` +
        '"await journal.createTable()" or with the SQL of fastify-idempotency/postgres.sql in a migration'
    case '42703':
      return `its table ${table} lacks a column. Does it belong to another version of fastify-idempotency, or to ` +
        'something else?'
    case '42501':
      return `grant SELECT, INSERT, UPDATE and DELETE on its table ${table} to the user that looks it up`
    case '42883':
      return 'its database is not Postgres 10 or later'
    default:
      return 'its database must have a method query(text, values) like that of pg, with $1 for the first value, ' +
        'which resolves to { rows } or an array of rows'
  }
}
