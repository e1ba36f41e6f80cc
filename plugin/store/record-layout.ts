import { RecordUnreadableError } from './store.ts'

/*
 * The value of a Redis key. It is text, with numbers in hexadecimal, since clients write text faster than bytes. Only
 * the body of a response may be bytes.
 *
 *   running and released records
 *   offset  characters
 *        0      1  version
 *        1      1  state
 *        2     43  fingerprint
 *       45      8  attempt
 *       53     18  owner
 *       71      8  lease, ms
 *       79     12  time to live, ms
 *       91      1  running only: L if the owner's client has disconnected, else nothing
 *
 *   settled records of version 2             settled records of version 1
 *        0      1  version                        0      1  version
 *        1      1  state                          1      1  state
 *        2     22  fingerprint: its beginning     2     43  fingerprint
 *       24      3  status code, decimal          45      8  attempt
 *       27  1 to 8 attempt                       53      3  status code, decimal, and a line feed
 *                  compressed only: a comma      57         headers, a line each, and an empty line; then the body
 *                  and the size of the body
 *                  before, in bytes
 *                  a line feed
 *                  headers, a line each, and
 *                  an empty line; then the body
 *
 * Everything that the scripts compare and replace is at a fixed offset. Lease and time to live are those of the owner,
 * so that processes with other settings measure the owner's lease correctly: the rest of the lease follows from the
 * rest of the time to live, on the clock of Redis alone.
 *
 * Nothing in a settled record changes any more. So in version 2 it is as short as it can be: most records are settled,
 * and each is kept for its whole retention. 132 bits of the fingerprint are enough to tell requests with the same key
 * apart. docs/semantics.md says why, and why the names of keys have all of their 256 bits.
 *
 * The fingerprint covers the body: in version 1 as it is after the route's validation, in version 2 as it was parsed.
 * So only the fingerprint in the other version's form can be compared with a record of the other version.
 */

/** The versions that this package reads. It writes one of them. */
export const RECORD_VERSIONS = [1, 2] as const
export type RecordVersion = typeof RECORD_VERSIONS[number]
/** The version that is written by default. */
export const RECORD_VERSION: RecordVersion = 2

/** Bytes of the largest body that is kept. A string in Redis can have 512 MiB at most. */
export const MAX_BODY_SIZE = 512 * 1024 * 1024 - 1

/** Characters of a record's id. */
export const ID_LENGTH = 43

export const STATE = {
  running: 'r',
  /** Running, and somebody waits to be woken. */
  awaited: 'w',
  released: 'f',
  settled: 's',
  /** Settled, but the response could not be kept. */
  settledWithoutResponse: 'n',
  /** Settled, and the body is compressed. Only in version 2. */
  settledBrotli: 'b',
  settledZstd: 'z'
} as const

/** Follows a running record whose owner's client has disconnected. */
export const OWNER_LEFT = 'L'

/** The places in running and released records, and in all records of version 1. */
export const OFFSET = {
  state: 1,
  fingerprint: 2,
  attempt: 45,
  owner: 53,
  lease: 71,
  timeToLive: 79,
  runningEnd: 91,
  statusCode: 53,
  headers: 57
} as const

/** The places in settled records of version 2. */
export const SETTLED_OFFSET = {
  fingerprint: 2,
  statusCode: 24,
  attempt: 27
} as const

export function hex (value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

export function unreadable (cause?: unknown): RecordUnreadableError {
  const message = `The stored value is not an idempotency record of version ${RECORD_VERSIONS.join(' or ')}`
  return new RecordUnreadableError(message, cause === undefined ? {} : { cause })
}

/** Reads a hexadecimal number of a fixed length. */
export function numberAt (head: string, from: number, to: number): number {
  const digits = head.slice(from, to)
  if (digits.length < to - from || !/^[0-9a-f]+$/i.test(digits)) throw unreadable()
  return Number.parseInt(digits, 16)
}
