import { RecordUnreadableError } from './store.ts'
import type { Claim, KeptResponse, Outcome, OwnedClaim } from './store.ts'

/*
 * The value of a Redis key. It is text, with numbers in hexadecimal, since clients write text faster than bytes. Only
 * the body of a response may be bytes.
 *
 *   offset  characters
 *        0      1  version
 *        1      1  state
 *        2     43  fingerprint
 *       45      8  attempt
 *  running and released             settled
 *       53     18  owner                 53      3  status code, decimal, and a line feed
 *       71      8  lease, ms             57         headers, a line each, and an empty line; then the body
 *       79     12  time to live, ms
 *       91      1  running only: L if the owner's client has disconnected, else nothing
 *
 * Everything that the scripts compare and replace is at a fixed offset. Lease and time to live are those of the owner,
 * so that processes with other settings measure the owner's lease correctly: the rest of the lease follows from the
 * rest of the time to live, on the clock of Redis alone.
 *
 * The fingerprint covers the body: in version 1 as it is after the route's validation, in version 2 as it was parsed.
 * So only the fingerprint in the other version's form can be compared with a record of the other version.
 */

/** The versions that this package reads. It writes one of them. */
export const RECORD_VERSIONS = [1, 2] as const
export type RecordVersion = typeof RECORD_VERSIONS[number]
/** The version that is written by default. */
export const RECORD_VERSION: RecordVersion = 2

/** Characters of a record's id. */
export const ID_LENGTH = 43

export const STATE = {
  running: 'r',
  /** Running, and somebody waits to be woken. */
  awaited: 'w',
  released: 'f',
  settled: 's',
  /** Settled, but the response could not be kept. */
  settledWithoutResponse: 'n'
} as const

/** Follows a running record whose owner's client has disconnected. */
export const OWNER_LEFT = 'L'

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

export type DecodedRecord =
  | DecodedOwned
  | { version: RecordVersion, state: 'settled', fingerprint: string, attempt: number, outcome: Outcome }

export interface DecodedOwned {
  version: RecordVersion
  state: 'running' | 'released'
  owner: string
  fingerprint: string
  attempt: number
  lease: number
  timeToLive: number
  ownerLeft: boolean
}

/** Milliseconds after which a record that is not settled is forgotten: `retention` after the end of its lease. */
export function timeToLive (claim: Claim): number {
  return claim.lease + claim.retention
}

export function encodeRunning (claim: Claim, attempt: number, version: RecordVersion): string {
  return encodeOwned(STATE.running, claim, attempt, version)
}

export function encodeReleased (owned: OwnedClaim, version: RecordVersion): string {
  return encodeOwned(STATE.released, owned, owned.attempt, version)
}

function encodeOwned (state: string, claim: Claim, attempt: number, version: RecordVersion): string {
  return version + state + claim.fingerprint + hex(attempt, 8) + claim.owner + encodeTimes(claim)
}

/** The times of the last claim and their text, to be used again: the times of one route never change. */
let times = { lease: NaN, retention: NaN, text: '' }

function encodeTimes (claim: Claim): string {
  const { lease, retention } = claim
  if (times.lease !== lease || times.retention !== retention) {
    times = { lease, retention, text: hex(lease, 8) + hex(timeToLive(claim), 12) }
  }
  return times.text
}

/** Returns the head of the record, and the body if there is a response. */
export function encodeSettled (
  owned: OwnedClaim, outcome: Outcome, version: RecordVersion
): string | [head: string, body: string | Buffer] {
  const { statusCode, response } = outcome
  const state = response === null ? STATE.settledWithoutResponse : STATE.settled
  const lines = response === null ? '' : encodeHeaders(response.headers)
  const head = `${version}${state}${owned.fingerprint}${hex(owned.attempt, 8)}${statusCode}\n${lines}\n`
  return response === null ? head : [head, response.body]
}

export function hex (value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** One line for each value, `name:value`, and `:name` for a header that was removed. */
export function encodeHeaders (headers: KeptResponse['headers']): string {
  let lines = ''
  for (const [name, value] of headers) {
    if (value === null) lines += `:${escape(name)}\n`
    else if (typeof value === 'string') lines += `${escape(name)}:${escape(value)}\n`
    else for (const one of value) lines += `${escape(name)}:${escape(one)}\n`
  }
  return lines
}

/**
 * Escapes line feeds. Node.js refuses to send a header with a line feed, but only after the header has been stored. The
 * line feed must not begin another header there.
 */
function escape (text: string): string {
  return /[\\\n]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n') : text
}

function unescape (text: string): string {
  return text.includes('\\') ? text.replace(/\\(.)/g, (_, char) => char === 'n' ? '\n' : '\\') : text
}

/** @throws {RecordUnreadableError} if the value is not a record of a version that this package reads */
export function decode (record: Buffer): DecodedRecord {
  const version = RECORD_VERSIONS.find(version => record[0] === String(version).charCodeAt(0))
  if (version === undefined) throw unreadable()
  const state = String.fromCharCode(record[OFFSET.state] ?? 0)
  switch (state) {
    case STATE.running:
    case STATE.awaited:
    case STATE.released:
      return decodeOwned(version, state, record.toString('latin1', 0, OFFSET.runningEnd + OWNER_LEFT.length))
    case STATE.settled:
    case STATE.settledWithoutResponse: {
      const headersEnd = record.indexOf('\n\n', OFFSET.headers - 1)
      if (headersEnd === -1) throw unreadable()
      const head = record.toString('utf8', 0, headersEnd)
      return {
        version,
        state: 'settled',
        fingerprint: head.slice(OFFSET.fingerprint, OFFSET.attempt),
        attempt: numberAt(head, OFFSET.attempt, OFFSET.owner),
        outcome: {
          statusCode: statusCodeOf(record.toString('latin1', OFFSET.statusCode, OFFSET.headers)),
          response: state === STATE.settled
            ? { headers: decodeHeaders(head.slice(OFFSET.headers)), body: record.subarray(headersEnd + 2) }
            : null
        }
      }
    }
    default:
      throw unreadable()
  }
}

function decodeOwned (version: RecordVersion, state: string, head: string): DecodedOwned {
  return {
    version,
    state: state === STATE.released ? 'released' : 'running',
    owner: head.slice(OFFSET.owner, OFFSET.lease),
    fingerprint: head.slice(OFFSET.fingerprint, OFFSET.attempt),
    attempt: numberAt(head, OFFSET.attempt, OFFSET.owner),
    lease: numberAt(head, OFFSET.lease, OFFSET.timeToLive),
    timeToLive: numberAt(head, OFFSET.timeToLive, OFFSET.runningEnd),
    ownerLeft: state !== STATE.released && head[OFFSET.runningEnd] === OWNER_LEFT
  }
}

export function unreadable (cause?: unknown): RecordUnreadableError {
  const message = `The stored value is not an idempotency record of version ${RECORD_VERSIONS.join(' or ')}`
  return new RecordUnreadableError(message, cause === undefined ? {} : { cause })
}

function numberAt (head: string, from: number, to: number): number {
  const digits = head.slice(from, to)
  if (digits.length < to - from || !/^[0-9a-f]+$/i.test(digits)) throw unreadable()
  return Number.parseInt(digits, 16)
}

function statusCodeOf (line: string): number {
  if (!/^\d{3}\n$/.test(line)) throw unreadable()
  return Number(line.slice(0, -1))
}

export function decodeHeaders (lines: string): KeptResponse['headers'] {
  const headers: KeptResponse['headers'] = []
  if (lines === '') return headers
  for (const line of lines.split('\n')) {
    const colon = line.indexOf(':')
    const name = unescape(line.slice(0, colon))
    const value = unescape(line.slice(colon + 1))
    const last = headers.at(-1)
    if (name === '') headers.push([value, null])
    else if (last?.[0] !== name) headers.push([name, value])
    else if (Array.isArray(last[1])) last[1].push(value)
    else last[1] = [String(last[1]), value]
  }
  return headers
}
