import type { CompressedBody, Compression } from './compression.ts'
import { decodeHeaders, encodeHeaders } from './header-lines.ts'
import { hex, numberAt, OFFSET, SETTLED_OFFSET, STATE, unreadable } from './record-layout.ts'
import type { RecordVersion } from './record-layout.ts'
import type { Outcome, OwnedClaim } from './store.ts'

/** The head of the record, and the body if there is a response. */
export type EncodedSettled = string | [head: string, body: string | Buffer]

export interface DecodedSettled {
  version: RecordVersion
  state: 'settled'
  /** In version 2 only its beginning. */
  fingerprint: string
  attempt: number
  /** Its body is as it was stored. */
  outcome: Outcome
  /** How the body was compressed; `null` if it was not. */
  compression: Compression | null
}

const STATE_OF = { brotli: STATE.settledBrotli, zstd: STATE.settledZstd } as const
const ALGORITHM_OF: Readonly<Record<string, Compression['algorithm']>> = {
  [STATE.settledBrotli]: 'brotli',
  [STATE.settledZstd]: 'zstd'
}

/** @param compressed the body, if it is to be stored compressed. Version 1 stores each body as it is */
export function encodeSettled (
  owned: OwnedClaim, { statusCode, response }: Outcome, version: RecordVersion, compressed: CompressedBody | null = null
): EncodedSettled {
  const lines = response === null ? '' : encodeHeaders(response.headers, version !== 1)
  if (version === 1) {
    const state = response === null ? STATE.settledWithoutResponse : STATE.settled
    const head = `1${state}${owned.fingerprint}${hex(owned.attempt, 8)}${statusCode}\n${lines}\n`
    return response === null ? head : [head, response.body]
  }
  const request = owned.fingerprint.slice(0, SETTLED_OFFSET.statusCode - SETTLED_OFFSET.fingerprint)
  const rest = `${request}${statusCode}${owned.attempt.toString(16)}`
  if (response === null) return `2${STATE.settledWithoutResponse}${rest}\n\n`
  if (compressed === null) return [`2${STATE.settled}${rest}\n${lines}\n`, response.body]
  const { algorithm, size, bytes } = compressed
  return [`2${STATE_OF[algorithm]}${rest},${size.toString(16)}\n${lines}\n`, bytes]
}

/**
 * Reads a record in one of the settled states. A compressed body stays compressed.
 * @throws {RecordUnreadableError}
 */
export function decodeSettled (version: RecordVersion, state: string, record: Buffer): DecodedSettled {
  return version === 1 ? decodeVersion1(state, record) : decodeVersion2(state, record)
}

function decodeVersion1 (state: string, record: Buffer): DecodedSettled {
  const headersEnd = record.indexOf('\n\n', OFFSET.headers - 1)
  if (headersEnd === -1 || state in ALGORITHM_OF) throw unreadable()
  const head = record.toString('utf8', 0, headersEnd)
  const attempt = numberAt(head, OFFSET.attempt, OFFSET.owner)
  const statusCode = /^(\d{3})\n$/.exec(record.toString('latin1', OFFSET.statusCode, OFFSET.headers))?.[1]
  if (statusCode === undefined) throw unreadable()
  return {
    version: 1,
    state: 'settled',
    fingerprint: head.slice(OFFSET.fingerprint, OFFSET.attempt),
    attempt,
    outcome: outcomeOf(state, Number(statusCode), head.slice(OFFSET.headers), record.subarray(headersEnd + 2)),
    compression: null
  }
}

/** Status code, attempt, and the size of a compressed body before. */
const NUMBERS = /^(\d{3})([0-9a-f]{1,8})(?:,([0-9a-f]{1,8}))?$/

function decodeVersion2 (state: string, record: Buffer): DecodedSettled {
  const headersEnd = record.indexOf('\n\n', SETTLED_OFFSET.attempt)
  if (headersEnd === -1) throw unreadable()
  const head = record.toString('utf8', 0, headersEnd)
  const lineFeed = head.indexOf('\n', SETTLED_OFFSET.attempt)
  const lineEnd = lineFeed === -1 ? head.length : lineFeed
  const numbers = NUMBERS.exec(head.slice(SETTLED_OFFSET.statusCode, lineEnd))
  const algorithm = ALGORITHM_OF[state]
  if (numbers === null || (numbers[3] === undefined) !== (algorithm === undefined)) throw unreadable()
  const [, statusCode, attempt = '', size = ''] = numbers
  return {
    version: 2,
    state: 'settled',
    fingerprint: head.slice(SETTLED_OFFSET.fingerprint, SETTLED_OFFSET.statusCode),
    attempt: Number.parseInt(attempt, 16),
    outcome: outcomeOf(state, Number(statusCode), head.slice(lineEnd + 1), record.subarray(headersEnd + 2)),
    compression: algorithm === undefined ? null : { algorithm, size: Number.parseInt(size, 16) }
  }
}

function outcomeOf (state: string, statusCode: number, lines: string, body: Buffer): Outcome {
  const hasResponse = state !== STATE.settledWithoutResponse
  return { statusCode, response: hasResponse ? { headers: decodeHeaders(lines), body } : null }
}
