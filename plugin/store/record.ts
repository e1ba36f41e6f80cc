import type { Claim, KeptResponse, Outcome, OwnedClaim } from './store.ts'

/*
 * The value of a Redis key. Text, and numbers in hexadecimal, since clients write text with less effort than bytes;
 * only the body of a response may be bytes.
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
 *
 * What the scripts compare and swap stands at fixed places. Lease and time to live are the owner's, so that processes
 * with other settings measure it by its own: what is left of the lease follows from what is left of the time to live,
 * on Redis's clock alone.
 */

export const VERSION = '1'

/** Characters of a record's id. */
export const ID_LENGTH = 43

export const STATE = {
  running: 'r',
  /** Running, and a duplicate waits to be woken. */
  awaited: 'w',
  released: 'f',
  settled: 's',
  /** Settled, but the response could not be kept. */
  settledWithoutResponse: 'n'
} as const

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
  | { state: 'running' | 'released', owner: string, fingerprint: string, attempt: number, lease: number, timeToLive: number }
  | { state: 'settled', fingerprint: string, attempt: number, outcome: Outcome }

/** Milliseconds for which a record that is not settled is remembered: for `retention` after its lease has run out. */
export function timeToLive (claim: Claim): number {
  return claim.lease + claim.retention
}

export function encodeRunning (claim: Claim, attempt: number): string {
  return encodeOwned(STATE.running, claim, attempt)
}

export function encodeReleased (owned: OwnedClaim): string {
  return encodeOwned(STATE.released, owned, owned.attempt)
}

function encodeOwned (state: string, claim: Claim, attempt: number): string {
  return VERSION + state + claim.fingerprint + hex(attempt, 8) + claim.owner + encodeTimes(claim)
}

/** The times of the last claim and their text: those of one route are always the same. */
let times = { lease: NaN, retention: NaN, text: '' }

function encodeTimes (claim: Claim): string {
  const { lease, retention } = claim
  if (times.lease !== lease || times.retention !== retention) {
    times = { lease, retention, text: hex(lease, 8) + hex(timeToLive(claim), 12) }
  }
  return times.text
}

/** Text if the body is text. */
export function encodeSettled ({ fingerprint, attempt }: OwnedClaim, { statusCode, response }: Outcome): string | Buffer {
  const state = response === null ? STATE.settledWithoutResponse : STATE.settled
  const head = `${VERSION}${state}${fingerprint}${hex(attempt, 8)}${statusCode}\n${response === null ? '' : encodeHeaders(response.headers)}\n`
  if (response === null) return head
  return typeof response.body === 'string' ? head + response.body : Buffer.concat([Buffer.from(head), response.body])
}

export function hex (value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** `name:value` for each value, and `:name` for a header that is to be removed. */
function encodeHeaders (headers: KeptResponse['headers']): string {
  let lines = ''
  for (const [name, value] of headers) {
    if (value === null) lines += `:${escape(name)}\n`
    else if (typeof value === 'string') lines += `${escape(name)}:${escape(value)}\n`
    else for (const one of value) lines += `${escape(name)}:${escape(one)}\n`
  }
  return lines
}

/** Node.js refuses to send a line feed in a header, but only after it was kept. It must not become another header. */
function escape (text: string): string {
  return /[\\\n]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n') : text
}

function unescape (text: string): string {
  return text.includes('\\') ? text.replace(/\\(.)/g, (_, char) => char === 'n' ? '\n' : '\\') : text
}

/** Throws on a record of another version, such as that of a newer release during a rolling upgrade. */
export function decode (record: Buffer): DecodedRecord {
  if (record[0] !== VERSION.charCodeAt(0)) throw notARecord()
  const state = String.fromCharCode(record[OFFSET.state] ?? 0)
  switch (state) {
    case STATE.running:
    case STATE.awaited:
    case STATE.released:
      return decodeOwned(state, record.toString('latin1', 0, OFFSET.runningEnd))
    case STATE.settled:
    case STATE.settledWithoutResponse: {
      const headersEnd = record.indexOf('\n\n', OFFSET.headers - 1)
      if (headersEnd === -1) throw notARecord()
      const head = record.toString('utf8', 0, headersEnd)
      return {
        state: 'settled',
        fingerprint: head.slice(OFFSET.fingerprint, OFFSET.attempt),
        attempt: numberAt(head, OFFSET.attempt, OFFSET.owner),
        outcome: {
          statusCode: Number(head.slice(OFFSET.statusCode, OFFSET.headers)),
          response: state === STATE.settled
            ? { headers: decodeHeaders(head.slice(OFFSET.headers)), body: record.subarray(headersEnd + 2) }
            : null
        }
      }
    }
    default:
      throw notARecord()
  }
}

function decodeOwned (state: string, head: string): DecodedRecord {
  return {
    state: state === STATE.released ? 'released' : 'running',
    owner: head.slice(OFFSET.owner, OFFSET.lease),
    fingerprint: head.slice(OFFSET.fingerprint, OFFSET.attempt),
    attempt: numberAt(head, OFFSET.attempt, OFFSET.owner),
    lease: numberAt(head, OFFSET.lease, OFFSET.timeToLive),
    timeToLive: numberAt(head, OFFSET.timeToLive, OFFSET.runningEnd)
  }
}

function notARecord (): Error {
  return new Error(`The stored value is not an idempotency record of version ${VERSION}`)
}

function numberAt (head: string, from: number, to: number): number {
  const digits = head.slice(from, to)
  const value = Number.parseInt(digits, 16)
  if (digits.length < to - from || Number.isNaN(value)) throw notARecord()
  return value
}

function decodeHeaders (lines: string): KeptResponse['headers'] {
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
