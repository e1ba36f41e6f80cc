import { anInteger, checkOptions } from '../shared/check-options.ts'
import type { RulesOf } from '../shared/check-options.ts'
import { Wake } from '../shared/wait.ts'
import { timeToLive } from './record.ts'
import { StoreRefusedError } from './store.ts'
import type { Claim, ClaimResult, Outcome, OwnedClaim, Store, StoredRecord } from './store.ts'

export interface MemoryStoreOptions {
  /**
   * Bytes: the limit of the estimated size of all records. When it is reached, the store forgets the records that were
   * settled or released first before their retention is over. It never forgets running ones: if there is no room, it
   * refuses the claim. Default 64 MiB.
   */
  maxSize?: number
}

interface MemoryRecord {
  state: 'running' | 'released' | 'settled'
  owner: string
  fingerprint: string
  attempt: number
  lease: number
  /** Milliseconds from `changedAt` until the record is forgotten. */
  timeToLive: number
  /** When the record was last claimed, renewed, settled or released, by `performance.now()`. */
  changedAt: number
  outcome: Outcome | null
  ownerLeft: boolean
  size: number
}

/** Bytes: the estimated size of a record without a response. */
const RECORD_SIZE = 512

const RULES: RulesOf<MemoryStoreOptions> = { maxSize: anInteger(RECORD_SIZE, Number.MAX_SAFE_INTEGER, 'bytes') }

/**
 * Keeps records in the memory of this process: for demos, tests, and apps that always run as one process. Other
 * processes do not see the records, and they are lost when this process ends. `maxSize` limits their size.
 */
export class MemoryStore implements Store {
  readonly #maxSize: number
  /** In the order of the last change: with one retention for all, the first records expire first. */
  readonly #records = new Map<string, MemoryRecord>()
  /** By record id, the wake-up call that its waiters share. */
  readonly #awaited = new Map<string, Wake>()
  #size = 0

  constructor (options: MemoryStoreOptions = {}) {
    checkOptions('MemoryStore', RULES, options)
    this.#maxSize = options.maxSize ?? 64 * 1024 * 1024
  }

  async claim (id: string, claim: Claim): Promise<ClaimResult> {
    const found = this.#get(id)
    if (found === undefined) return this.#grant(id, claim, 1)
    if (found.fingerprint !== claim.fingerprint) return { state: 'mismatch' }
    if (found.outcome !== null) return { state: 'settled', attempt: found.attempt, outcome: found.outcome }
    if (found.state === 'running') {
      if (found.owner === claim.owner) return { state: 'claimed', attempt: found.attempt }
      const leaseLeft = Math.max(0, leaseLeftOf(found))
      if (leaseLeft > 0 || !claim.takeOver) return { state: 'running', leaseLeft, ownerLeft: found.ownerLeft }
    }
    return this.#grant(id, claim, found.attempt + 1)
  }

  #grant (id: string, claim: Claim, attempt: number): ClaimResult {
    this.#makeRoom(id, RECORD_SIZE)
    // The outcome of a run must be kept even if that exceeds the limit. Only a new run can be refused.
    if (this.#size + RECORD_SIZE - (this.#records.get(id)?.size ?? 0) > this.#maxSize) {
      throw new StoreRefusedError(`MemoryStore: no room for another record: "maxSize" is ${this.#maxSize} bytes, ` +
        'all held by requests that still run')
    }
    this.#put(id, 'running', { ...claim, attempt }, null)
    return { state: 'claimed', attempt }
  }

  async renew (id: string, owned: OwnedClaim): Promise<boolean> {
    const found = this.#get(id)
    if (found !== undefined && (found.state !== 'running' || found.owner !== owned.owner)) return false
    this.#put(id, 'running', owned, null, found?.ownerLeft)
    return true
  }

  async complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean> {
    const found = this.#get(id)
    if (found !== undefined) {
      const isOwner = found.owner === owned.owner
      // A claim took the key over and was withdrawn: nothing ran, and the record has the same attempt as before.
      const isGivenBack = found.state === 'released' && !isOwner &&
        found.attempt === owned.attempt && found.fingerprint === owned.fingerprint
      if (!isGivenBack && (!isOwner || found.state === 'released')) return false
      if (found.state === 'settled') return true
    }
    this.#put(id, 'settled', owned, outcome)
    this.#wake(id)
    return true
  }

  async release (id: string, owned: OwnedClaim): Promise<boolean> {
    const found = this.#get(id)
    if (found === undefined) {
      if (owned.attempt > 0) this.#put(id, 'released', owned, null)
      this.#wake(id)
      return true
    }
    if (found.owner !== owned.owner || found.state === 'settled') return false
    if (found.state === 'released') return true
    this.#put(id, 'released', { ...owned, attempt: found.attempt }, null)
    this.#wake(id)
    return true
  }

  async withdraw (id: string, claim: Claim): Promise<boolean> {
    const found = this.#get(id)
    if (found?.state !== 'running' || found.owner !== claim.owner) return false
    if (found.attempt === 1) this.#delete(id)
    else this.#put(id, 'released', { ...claim, attempt: found.attempt - 1 }, null)
    this.#wake(id)
    return true
  }

  async markLeft (id: string, owned: OwnedClaim): Promise<boolean> {
    const found = this.#get(id)
    if (found?.state !== 'running' || found.owner !== owned.owner) return false
    if (!found.ownerLeft) this.#wake(id)
    found.ownerLeft = true
    return true
  }

  async wait (id: string, timeout: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#get(id)?.state !== 'running') return
    let wake = this.#awaited.get(id)
    if (wake === undefined) this.#awaited.set(id, wake = new Wake())
    wake.waiters++
    await wake.orAfter(timeout, signal)
    wake.waiters--
    if (wake.waiters === 0 && this.#awaited.get(id) === wake) this.#awaited.delete(id)
  }

  #wake (id: string): void {
    this.#awaited.get(id)?.now()
    this.#awaited.delete(id)
  }

  async find (id: string): Promise<StoredRecord | null> {
    const found = this.#get(id)
    if (found === undefined) return null
    return {
      state: found.state,
      attempt: found.attempt,
      expiresIn: Math.ceil(found.changedAt + found.timeToLive - performance.now()),
      leaseLeft: found.state === 'running' ? Math.max(0, leaseLeftOf(found)) : null,
      outcome: found.outcome
    }
  }

  async forget (id: string): Promise<boolean> {
    if (this.#get(id) === undefined) return false
    this.#delete(id)
    return true
  }

  #get (id: string): MemoryRecord | undefined {
    const found = this.#records.get(id)
    if (found === undefined || performance.now() - found.changedAt < found.timeToLive) return found
    this.#delete(id)
    return undefined
  }

  #put (id: string, state: MemoryRecord['state'], owned: OwnedClaim, outcome: Outcome | null, ownerLeft = false): void {
    const size = RECORD_SIZE + (outcome?.response == null ? 0 : sizeOf(outcome.response))
    this.#makeRoom(id, size)
    this.#delete(id)
    const { owner, fingerprint, attempt, lease, retention } = owned
    this.#records.set(id, {
      state,
      owner,
      fingerprint,
      attempt,
      lease,
      timeToLive: state === 'settled' ? retention : timeToLive(owned),
      changedAt: performance.now(),
      outcome,
      ownerLeft,
      size
    })
    this.#size += size
  }

  #delete (id: string): void {
    this.#size -= this.#records.get(id)?.size ?? 0
    this.#records.delete(id)
  }

  /** Makes room for a record of `size` bytes that replaces the present record of `id`, if there is one. */
  #makeRoom (id: string, size: number): void {
    const now = performance.now()
    const needed = size - (this.#records.get(id)?.size ?? 0)
    for (const [other, record] of this.#records) {
      const expired = now - record.changedAt >= record.timeToLive
      if (!expired && this.#size + needed <= this.#maxSize) return
      if (other !== id && (expired || record.state !== 'running')) this.#delete(other)
    }
  }
}

function leaseLeftOf (record: MemoryRecord): number {
  return Math.ceil(record.lease - (performance.now() - record.changedAt))
}

function sizeOf ({ headers, body }: NonNullable<Outcome['response']>): number {
  return headers.reduce((sum, [name, value]) => sum + name.length + String(value).length, Buffer.byteLength(body))
}
