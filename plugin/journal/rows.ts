import type { KeptResponse } from '../store/store.ts'
import type { JournalEntry, Queryable } from './journal.ts'

/** A row of the journal's table, as a driver returns it. */
export interface Row {
  fingerprint: Uint8Array
  attempt: number
  owner: string
  status: number
  headers: string | null
  body: Uint8Array | null
}

/**
 * The rows that a statement returns.
 * @throws {TypeError} if the driver's answer has no rows
 */
export async function query<T> (db: Queryable, text: string, values: unknown[]): Promise<T[]> {
  const result = await db.query(text, values) as { rows?: unknown } | unknown[] | undefined
  const rows = Array.isArray(result) ? result : result?.rows
  if (!Array.isArray(rows)) {
    throw new TypeError('postgresJournal: query(text, values) must resolve to { rows }, as that of pg does, or to an ' +
      'array of rows')
  }
  return rows as T[]
}

/** The bytes of an id or of a fingerprint, which are SHA-256 hashes in base64url. */
export function bytesOf (hash: string): Buffer {
  return Buffer.from(hash, 'base64url')
}

/** The values of a new row, in the order of `Statements.insert`. */
export function valuesOf (id: string, entry: JournalEntry, keepFor: number): unknown[] {
  const { fingerprint, attempt, owner, outcome: { statusCode, response } } = entry
  const headers = response === null ? null : JSON.stringify(response.headers)
  const body = response === null ? null : Buffer.from(response.body as string)
  return [bytesOf(id), bytesOf(fingerprint), attempt, owner, statusCode, headers, body, keepFor]
}

export function entryOf ({ fingerprint, attempt, owner, status, headers, body }: Row): JournalEntry {
  const response = headers === null || body === null
    ? null
    : { headers: JSON.parse(headers) as KeptResponse['headers'], body: bufferOf(body) }
  return {
    fingerprint: bufferOf(fingerprint).toString('base64url'),
    attempt,
    owner,
    outcome: { statusCode: status, response }
  }
}

/** Some drivers return a plain Uint8Array. */
function bufferOf ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** The properties in which database libraries put the driver's own error. */
const WRAPPED_IN = ['cause', 'driverError', 'original', 'parent'] as const

/**
 * Searches an error, and the errors that it wraps, for the first code that `isWanted`. The codes of Postgres:
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function codeOf (error: unknown, isWanted: (code: string) => boolean, depth = 0): string | undefined {
  if (typeof error !== 'object' || error === null || depth > 4) return undefined
  const { code } = error as { code?: unknown }
  if (typeof code === 'string' && isWanted(code)) return code
  for (const name of WRAPPED_IN) {
    const inner = codeOf((error as Record<string, unknown>)[name], isWanted, depth + 1)
    if (inner !== undefined) return inner
  }
  return undefined
}
