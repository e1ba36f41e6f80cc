import { randomBytes } from 'node:crypto'
import type { Claim } from '../store/store.ts'
import type { Contender } from './engine.ts'
import type { StoreContact } from './store-contact.ts'

/** A claim that does not take over a lease which ran out while this process could not have noticed its owner. */
export class CautiousClaim implements Claim {
  readonly owner = nextOwner()
  readonly fingerprint: string
  readonly alternativeFingerprint: (() => string) | undefined
  readonly lease: number
  readonly retention: number
  /** `performance.now()` before the claim was sent. */
  readonly sentAt = performance.now()
  /** The store asked `takeOver`, and the answer was no. */
  refrained = false
  readonly #contact: StoreContact

  constructor ({ settings, identity }: Contender, contact: StoreContact) {
    this.fingerprint = identity.fingerprint
    this.alternativeFingerprint = identity.alternativeFingerprint
    this.lease = settings.lease
    this.retention = settings.retention
    this.#contact = contact
  }

  /**
   * The store reads it when it has the record. A claim that took long comes out of an outage: an owner that is alive
   * could not reach the store in that time either, and may not have tried for half a lease before.
   */
  get takeOver (): boolean {
    const now = performance.now()
    this.refrained = now - this.sentAt >= this.lease / 3 || this.#contact.takeOverDelay(this.lease, now) > 0
    return !this.refrained
  }
}

/** 66 random bits that tell this process from others. */
const PROCESS_TOKEN = randomBytes(9).toString('base64url').slice(0, 11)
const SUFFIXES = Array.from({ length: 36 ** 2 }, (_, number) => number.toString(36).padStart(2, '0'))
let prefix = ''
let prefixes = 0
let suffix = SUFFIXES.length

/**
 * 18 characters that no other claim has: the token of this process, and a count in base 36. Its last two digits are
 * taken from a list, since it is expensive to convert each number.
 */
function nextOwner (): string {
  if (suffix === SUFFIXES.length) {
    prefix = PROCESS_TOKEN + (prefixes++).toString(36).padStart(5, '0')
    suffix = 0
  }
  return prefix + (SUFFIXES[suffix++] as string)
}
