import { decodeHeaders, encodeHeaders } from '../record.ts'
import type { Outcome } from '../store.ts'
import type { Location } from './segments.ts'

/*
 * The value of a settled record:
 *
 *   offset  characters
 *        0      1  what follows the head: T text, B bytes, N nothing, because the response could not be kept
 *        1     43  fingerprint
 *       44      3  status code, and a line feed
 *       48         headers as in Redis (record.ts), a line each, and an empty line; then the body
 *
 * It is not the whole format of Redis, which takes three times as long to decode. Here a body that is text is decoded
 * together with its head, and nothing has to be checked, since only this process writes the value.
 */
const KIND = 0
const FINGERPRINT = 1
const STATUS_CODE = 44
const HEADERS = 48
const TEXT = 'T'
const BYTES = 'B'
const NOTHING = 'N'

const BYTES_CODE = BYTES.charCodeAt(0)

export interface SettledValue {
  fingerprint: string
  outcome: Outcome
}

export function encodeSettledValue (fingerprint: string, { statusCode, response }: Outcome): string | Buffer {
  if (response === null) return `${NOTHING}${fingerprint}${statusCode}\n\n`
  const { headers, body } = response
  const head = `${fingerprint}${statusCode}\n${encodeHeaders(headers)}\n`
  return typeof body === 'string' ? `${TEXT}${head}${body}` : Buffer.concat([Buffer.from(BYTES + head), body])
}

/** The result shares no memory with the segment. */
export function decodeSettledValue ({ segment, start, end }: Location): SettledValue {
  const isBytes = segment[start] === BYTES_CODE
  const bodyStart = isBytes ? segment.indexOf('\n\n', start + HEADERS - 1) + 2 : end
  const text = segment.toString('utf8', start, bodyStart)
  // Without headers the line feed of the status code is the first of the two.
  const headersEnd = text.indexOf('\n\n', HEADERS - 1)
  const body = isBytes ? Buffer.from(segment.subarray(bodyStart, end)) : text.slice(headersEnd + 2)
  return {
    fingerprint: text.slice(FINGERPRINT, STATUS_CODE),
    outcome: {
      statusCode: Number(text.slice(STATUS_CODE, HEADERS - 1)),
      response: text[KIND] === NOTHING ? null : { headers: decodeHeaders(text.slice(HEADERS, headersEnd)), body }
    }
  }
}
