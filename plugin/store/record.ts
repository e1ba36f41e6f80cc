import type { Claim, KeptResponse, OwnedClaim, Outcome } from './store.ts'

/*
 * The value of a Redis key. Numbers are big-endian.
 *
 *   offset  bytes
 *        0      1  version
 *        1      1  state
 *        2     16  owner
 *       18     32  fingerprint
 *       50      4  attempt
 *  running and released             settled
 *       54      4  lease, ms           54      2  status code
 *       58      6  time to live, ms    56      4  length of the headers
 *                                      60         headers as JSON, then the body
 *
 * Owner and state stand at fixed places so that the scripts can compare and swap them without decoding the rest;
 * lease and time to live are the owner's, so that processes with other settings measure it by its own: what is left of
 * the lease follows from what is left of the time to live, on Redis's clock alone.
 */

export const VERSION = 1

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
  owner: 2,
  fingerprint: 18,
  attempt: 50,
  lease: 54,
  timeToLive: 58,
  runningEnd: 64,
  statusCode: 54,
  headersLength: 56,
  headers: 60
} as const

export type DecodedRecord =
  | { state: 'running' | 'released', owner: Buffer, fingerprint: Buffer, attempt: number, lease: number, timeToLive: number }
  | { state: 'settled', owner: Buffer, fingerprint: Buffer, attempt: number, outcome: Outcome }

/** Milliseconds for which a record that is not settled is remembered: for `retention` after its lease has run out. */
export function timeToLive (claim: Claim): number {
  return claim.lease + claim.retention
}

export function encodeRunning (claim: Claim, attempt: number): Buffer {
  return encodeOwned(STATE.running, claim, attempt)
}

export function encodeReleased (owned: OwnedClaim): Buffer {
  return encodeOwned(STATE.released, owned, owned.attempt)
}

function encodeOwned (state: string, claim: Claim, attempt: number): Buffer {
  const record = Buffer.allocUnsafe(OFFSET.runningEnd)
  writeHead(record, state, claim, attempt)
  record.writeUInt32BE(claim.lease, OFFSET.lease)
  record.writeUIntBE(timeToLive(claim), OFFSET.timeToLive, 6)
  return record
}

export function encodeSettled (owned: OwnedClaim, { statusCode, response }: Outcome): Buffer {
  const headers = response === null ? '' : JSON.stringify(response.headers)
  const headersLength = Buffer.byteLength(headers)
  const bodyAt = OFFSET.headers + headersLength
  const record = Buffer.allocUnsafe(bodyAt + (response === null ? 0 : response.body.length))
  writeHead(record, response === null ? STATE.settledWithoutResponse : STATE.settled, owned, owned.attempt)
  record.writeUInt16BE(statusCode, OFFSET.statusCode)
  record.writeUInt32BE(headersLength, OFFSET.headersLength)
  record.write(headers, OFFSET.headers)
  response?.body.copy(record, bodyAt)
  return record
}

function writeHead (record: Buffer, state: string, claim: Claim, attempt: number): void {
  record[0] = VERSION
  record.write(state, OFFSET.state, 'latin1')
  claim.owner.copy(record, OFFSET.owner)
  claim.fingerprint.copy(record, OFFSET.fingerprint)
  record.writeUInt32BE(attempt, OFFSET.attempt)
}

/** Throws on a record of another version, such as that of a newer release during a rolling upgrade. */
export function decode (record: Buffer): DecodedRecord {
  if (record[0] !== VERSION || record.length < OFFSET.headers) {
    throw new Error(`The stored value is not an idempotency record of version ${VERSION}`)
  }
  const owner = record.subarray(OFFSET.owner, OFFSET.fingerprint)
  const fingerprint = record.subarray(OFFSET.fingerprint, OFFSET.attempt)
  const attempt = record.readUInt32BE(OFFSET.attempt)
  const state = String.fromCharCode(record[OFFSET.state] as number)
  switch (state) {
    case STATE.running:
    case STATE.awaited:
    case STATE.released:
      return {
        state: state === STATE.released ? 'released' : 'running',
        owner,
        fingerprint,
        attempt,
        lease: record.readUInt32BE(OFFSET.lease),
        timeToLive: record.readUIntBE(OFFSET.timeToLive, 6)
      }
    case STATE.settled:
    case STATE.settledWithoutResponse: {
      const statusCode = record.readUInt16BE(OFFSET.statusCode)
      const response = state === STATE.settled ? decodeResponse(record) : null
      return { state: 'settled', owner, fingerprint, attempt, outcome: { statusCode, response } }
    }
    default:
      throw new Error(`The stored idempotency record has an unknown state ${JSON.stringify(state)}`)
  }
}

function decodeResponse (record: Buffer): KeptResponse {
  const bodyAt = OFFSET.headers + record.readUInt32BE(OFFSET.headersLength)
  const headers = JSON.parse(record.toString('utf8', OFFSET.headers, bodyAt)) as KeptResponse['headers']
  return { headers, body: record.subarray(bodyAt) }
}
