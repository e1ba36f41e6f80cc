import { randomBytes } from 'node:crypto'
import type { Hearing } from './store-contact.ts'
import type { Pursuit } from './contender.ts'
import type { Claim } from '../store/store.ts'

/** A claim that takes over no lease which ran out while this process could not have heard its owner. */
export class PatientClaim implements Claim {
  readonly owner = nextOwner()
  readonly fingerprint: string
  readonly alternativeFingerprint: (() => string) | undefined
  readonly lease: number
  readonly retention: number
  /** `performance.now()` before it was sent. */
  readonly asked = performance.now()
  /** A store that looked for its permission was told that a lease which ran out is not to be taken over yet. */
  refrained = false
  readonly #hearing: Hearing

  constructor ({ settings, identity }: Pursuit, hearing: Hearing) {
    this.fingerprint = identity.fingerprint
    this.alternativeFingerprint = identity.alternativeFingerprint
    this.lease = settings.lease
    this.retention = settings.retention
    this.#hearing = hearing
  }

  /**
   * Looked at when the record is there. What was on its way for long comes out of an outage, in which an owner that is
   * alive was silent for as long, and for half a lease before at most.
   */
  get takeOver (): boolean {
    const now = performance.now()
    this.refrained = now - this.asked >= this.lease / 3 || this.#hearing.patience(this.lease, now) > 0
    return !this.refrained
  }
}

/** 66 random bits: which process. */
const PROCESS_TOKEN = randomBytes(9).toString('base64url').slice(0, 11)
let ownersMade = 0

/** 18 characters that no other claim has: random ones of this process, and a count. */
function nextOwner (): string {
  return PROCESS_TOKEN + (++ownersMade).toString(36).padStart(7, '0')
}
