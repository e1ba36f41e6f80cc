import { anInteger, checkOptions } from '../shared/check-options.ts'
import type { RulesOf } from '../shared/check-options.ts'
import { LinkedList } from '../shared/linked-list.ts'
import type { Linked } from '../shared/linked-list.ts'
import { Wake } from '../shared/wait.ts'
import { Segments } from './memory/segments.ts'
import type { Location } from './memory/segments.ts'
import { decodeSettledValue, encodeSettledValue } from './memory/settled-value.ts'
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

interface MemoryRecord extends Linked<MemoryRecord> {
  readonly id: string
  state: 'running' | 'released' | 'settled'
  owner: string
  /** Empty if the record is settled: then its value has the fingerprint. */
  fingerprint: string
  attempt: number
  lease: number
  /** Milliseconds from `changedAt` until the record is forgotten. */
  timeToLive: number
  /** When the record was last claimed, renewed, settled or released, by `performance.now()`. */
  changedAt: number
  /** `null` unless the record is settled. */
  value: Location | null
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
  readonly #records = new Map<string, MemoryRecord>()
  /** These two are in the order of the last change. */
  readonly #running = new LinkedList<MemoryRecord>()
  /** The settled and the released records. */
  readonly #ended = new LinkedList<MemoryRecord>()
  /** The values of the settled records. */
  readonly #values = new Segments()
  /** By record id, the wake-up call that its waiters share. */
  readonly #awaited = new Map<string, Wake>()
  #size = 0

  constructor (options: MemoryStoreOptions = {}) {
    checkOptions('MemoryStore', RULES, options)
    this.#maxSize = options.maxSize ?? 64 * 1024 * 1024
  }

  async claim (id: string, claim: Claim): Promise<ClaimResult> {
    const found = this.#get(id)
    if (found === undefined) return this.#grant(id, claim, 1, undefined)
    if (found.value !== null) {
      const { fingerprint, outcome } = decodeSettledValue(found.value)
      return fingerprint === claim.fingerprint
        ? { state: 'settled', attempt: found.attempt, outcome }
        : { state: 'mismatch' }
    }
    if (found.fingerprint !== claim.fingerprint) return { state: 'mismatch' }
    if (found.state === 'running') {
      if (found.owner === claim.owner) return { state: 'claimed', attempt: found.attempt }
      const leaseLeft = Math.max(0, leaseLeftOf(found))
      if (leaseLeft > 0 || !claim.takeOver) return { state: 'running', leaseLeft, ownerLeft: found.ownerLeft }
    }
    return this.#grant(id, claim, found.attempt + 1, found)
  }

  #grant (id: string, claim: Claim, attempt: number, found: MemoryRecord | undefined): ClaimResult {
    const needed = RECORD_SIZE - (found?.size ?? 0)
    this.#makeRoom(needed, found)
    // The outcome of a run must be kept even if that exceeds the limit. Only a new run can be refused.
    if (!this.#hasRoom(needed)) {
      throw new StoreRefusedError(`MemoryStore: no room for another record: "maxSize" is ${this.#maxSize} bytes, ` +
        'all held by requests that still run')
    }
    this.#put(id, found, 'running', claim, attempt)
    return { state: 'claimed', attempt }
  }

  async renew (id: string, owned: OwnedClaim): Promise<boolean> {
    const found = this.#get(id)
    if (found !== undefined && (found.state !== 'running' || found.owner !== owned.owner)) return false
    this.#put(id, found, 'running', owned, owned.attempt, found?.ownerLeft)
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
    this.#settle(id, found, owned, outcome)
    this.#wake(id)
    return true
  }

  async release (id: string, owned: OwnedClaim): Promise<boolean> {
    const found = this.#get(id)
    if (found === undefined) {
      if (owned.attempt > 0) this.#put(id, found, 'released', owned, owned.attempt)
      this.#wake(id)
      return true
    }
    if (found.owner !== owned.owner || found.state === 'settled') return false
    if (found.state === 'released') return true
    this.#put(id, found, 'released', owned, found.attempt)
    this.#wake(id)
    return true
  }

  async withdraw (id: string, claim: Claim): Promise<boolean> {
    const found = this.#get(id)
    if (found?.state !== 'running' || found.owner !== claim.owner) return false
    if (found.attempt === 1) this.#delete(found)
    else this.#put(id, found, 'released', claim, found.attempt - 1)
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
      outcome: found.value === null ? null : decodeSettledValue(found.value).outcome
    }
  }

  async forget (id: string): Promise<boolean> {
    const found = this.#get(id)
    if (found === undefined) return false
    this.#delete(found)
    return true
  }

  #get (id: string): MemoryRecord | undefined {
    const found = this.#records.get(id)
    if (found === undefined || !isExpired(found, performance.now())) return found
    this.#delete(found)
    return undefined
  }

  /** Writes a record that is not settled. `found`: the present record of `id`. */
  #put (
    id: string, found: MemoryRecord | undefined, state: 'running' | 'released', claim: Claim, attempt: number,
    ownerLeft = false
  ): void {
    const record = found ?? this.#create(id)
    const { owner, fingerprint, lease } = claim
    record.owner = owner
    record.fingerprint = fingerprint
    record.attempt = attempt
    record.lease = lease
    record.ownerLeft = ownerLeft
    this.#change(record, state, RECORD_SIZE, timeToLive(claim))
  }

  #settle (id: string, found: MemoryRecord | undefined, owned: OwnedClaim, outcome: Outcome): void {
    const value = this.#values.add(encodeSettledValue(owned.fingerprint, outcome))
    const record = found ?? this.#create(id)
    record.owner = owned.owner
    record.fingerprint = ''
    record.attempt = owned.attempt
    record.value = value
    this.#change(record, 'settled', RECORD_SIZE + sizeOf(outcome), owned.retention)
  }

  #create (id: string): MemoryRecord {
    const record: MemoryRecord = {
      id,
      state: 'running',
      owner: '',
      fingerprint: '',
      attempt: 0,
      lease: 0,
      timeToLive: 0,
      changedAt: 0,
      value: null,
      ownerLeft: false,
      size: 0,
      previous: null,
      next: null
    }
    this.#records.set(id, record)
    this.#running.append(record)
    return record
  }

  /** Makes the record the one that has changed last, and makes room for it. */
  #change (record: MemoryRecord, state: MemoryRecord['state'], size: number, timeToLive: number): void {
    this.#orderOf(record).remove(record)
    this.#size += size - record.size
    record.state = state
    record.size = size
    record.timeToLive = timeToLive
    record.changedAt = performance.now()
    this.#orderOf(record).append(record)
    this.#makeRoom(0, record)
  }

  #delete (record: MemoryRecord): void {
    this.#size -= record.size
    this.#orderOf(record).remove(record)
    this.#records.delete(record.id)
  }

  #orderOf (record: MemoryRecord): LinkedList<MemoryRecord> {
    return record.state === 'running' ? this.#running : this.#ended
  }

  /**
   * Deletes what has expired, and then what ended first, until `needed` bytes are free. A record that has not expired
   * hides expired ones that changed after it, until room is short. Never deletes `spared`.
   */
  #makeRoom (needed: number, spared: MemoryRecord | undefined): void {
    const now = performance.now()
    for (let record = this.#running.first, next; record !== null && isExpired(record, now); record = next) {
      next = record.next
      if (record !== spared) this.#delete(record)
    }
    for (let record = this.#ended.first, next; record !== null; record = next) {
      if (this.#hasRoom(needed) && !isExpired(record, now)) return
      next = record.next
      if (record !== spared) this.#delete(record)
    }
    if (this.#hasRoom(needed)) return
    for (let record = this.#running.first, next; record !== null; record = next) {
      next = record.next
      if (record !== spared && isExpired(record, now)) this.#delete(record)
    }
  }

  #hasRoom (needed: number): boolean {
    return this.#size + needed <= this.#maxSize
  }
}

function isExpired (record: MemoryRecord, now: number): boolean {
  return now - record.changedAt >= record.timeToLive
}

function leaseLeftOf (record: MemoryRecord): number {
  return Math.ceil(record.lease - (performance.now() - record.changedAt))
}

function sizeOf ({ response }: Outcome): number {
  if (response === null) return 0
  let size = Buffer.byteLength(response.body)
  for (const [name, value] of response.headers) size += name.length + String(value).length
  return size
}
