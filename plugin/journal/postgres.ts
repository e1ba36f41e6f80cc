import { StoreTimeoutError } from '../errors.ts'
import type { KeptResponse } from '../store/store.ts'
import { JournalConflictError } from './journal.ts'
import type { Journal, JournalEntry, Queryable } from './journal.ts'
import { journalStatements, quotedTable } from './schema.ts'

export { journalSchema } from './schema.ts'
export { JournalConflictError } from './journal.ts'
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

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const UNIQUE_VIOLATION = '23505'

interface Row {
  fingerprint: Uint8Array
  attempt: number
  status: number
  headers: string | null
  body: Uint8Array | null
}

/**
 * A journal in a table of the app's own Postgres.
 * @param db what looks the journal up and purges it, outside of transactions: a pool such as `app.pg`
 * @throws {TypeError} naming the option that is wrong
 */
export function postgresJournal (db: Queryable, options: PostgresJournalOptions = {}): PostgresJournal {
  const { table, timeout, purgeInterval, purgeBatch } = check(db, options)

  // A row that expired makes room for a new one; any other keeps the new one out. In this order: the insert reads what
  // the deletion answers.
  const insert = `
    WITH expired AS (DELETE FROM ${table} WHERE id = $1 AND expires_at <= clock_timestamp() RETURNING 1)
    INSERT INTO ${table} (id, fingerprint, attempt, status, headers, body, expires_at)
    SELECT $1::bytea, $2::bytea, $3::integer, $4::smallint, $5::text, $6::bytea,
      clock_timestamp() + $7::bigint * interval '1 millisecond'
    FROM (SELECT count(*) FROM expired) AS deleted`
  const select = `
    SELECT fingerprint, attempt, status, headers, body FROM ${table}
    WHERE id = $1 AND expires_at > clock_timestamp()`
  // Several processes may purge at once: each skips what another has locked.
  const purge = `
    DELETE FROM ${table} WHERE id IN (
      SELECT id FROM ${table} WHERE expires_at <= clock_timestamp()
      ORDER BY expires_at LIMIT $1::integer FOR UPDATE SKIP LOCKED
    ) RETURNING 1`

  return {
    purgeInterval,

    async record (tx, id, { fingerprint, attempt, outcome: { statusCode, response } }, keepFor) {
      const headers = response === null ? null : JSON.stringify(response.headers)
      try {
        await tx.query(insert, [bytesOf(id), bytesOf(fingerprint), attempt, statusCode, headers, response === null ? null : Buffer.from(response.body as string), keepFor])
      } catch (error) {
        if ((error as { code?: unknown }).code !== UNIQUE_VIOLATION) throw error
        throw new JournalConflictError('Another attempt of this operation has committed its outcome', { cause: error })
      }
    },

    async find (id) {
      const { rows: [row] } = await within(timeout, db.query(select, [bytesOf(id)]))
      return row === undefined ? null : entryOf(row as Row)
    },

    async purge () {
      const { rows } = await db.query(purge, [purgeBatch])
      return rows.length === purgeBatch
    },

    async createTable (client = db) {
      for (const statement of journalStatements(options.table)) await client.query(statement, [])
    }
  }
}

/** Ids and fingerprints are SHA-256 in base64url. */
function bytesOf (hash: string): Buffer {
  return Buffer.from(hash, 'base64url')
}

function entryOf ({ fingerprint, attempt, status, headers, body }: Row): JournalEntry {
  const response = headers === null || body === null
    ? null
    : { headers: JSON.parse(headers) as KeptResponse['headers'], body: bufferOf(body) }
  return { fingerprint: bufferOf(fingerprint).toString('base64url'), attempt, outcome: { statusCode: status, response } }
}

/** Some drivers hand out a plain Uint8Array. */
function bufferOf ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

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
