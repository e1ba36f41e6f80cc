import { hex, numberAt, OFFSET, OWNER_LEFT, RECORD_VERSIONS, STATE, unreadable } from './record-layout.ts'
import type { RecordVersion } from './record-layout.ts'
import { decodeSettled } from './settled-record.ts'
import type { DecodedSettled } from './settled-record.ts'
import type { Claim, OwnedClaim } from './store.ts'

export { decodeHeaders, encodeHeaders } from './header-lines.ts'
export {
  hex, ID_LENGTH, MAX_BODY_SIZE, OFFSET, OWNER_LEFT, RECORD_VERSION, RECORD_VERSIONS, SETTLED_OFFSET, STATE, unreadable
} from './record-layout.ts'
export type { RecordVersion } from './record-layout.ts'
export { encodeSettled } from './settled-record.ts'
export type { DecodedSettled, EncodedSettled } from './settled-record.ts'

export type DecodedRecord = DecodedOwned | DecodedSettled

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
    case STATE.settledWithoutResponse:
    case STATE.settledBrotli:
    case STATE.settledZstd:
      return decodeSettled(version, state, record)
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
