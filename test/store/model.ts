import assert from 'node:assert/strict'
import type { Claim, ClaimResult, OwnedClaim, Store, StoredRecord } from '../../plugin/store/store.ts'
import { anOutcome } from './harness.ts'

/** One call of a store. */
export type Operation =
  | { kind: 'claim', claim: Claim }
  | { kind: OwnersOperation, owned: OwnedClaim }

export type OwnersOperation = 'renew' | 'complete' | 'release' | 'withdraw' | 'markLeft'

/** What it answered, without times. */
export type Answer = string

interface ModelRecord {
  state: 'running' | 'released' | 'settled'
  owner: string
  fingerprint: string
  attempt: number
  leaseHolds: boolean
  ownerLeft: boolean
  body: string | null
}

export async function perform (store: Store, id: string, operation: Operation): Promise<Answer> {
  switch (operation.kind) {
    case 'claim':
      return answerOf(await store.claim(id, operation.claim))
    case 'complete':
      return String(await store.complete(id, operation.owned, anOutcome(bodyOf(operation.owned))))
    default:
      return String(await store[operation.kind](id, operation.owned))
  }
}

function answerOf (result: ClaimResult): Answer {
  switch (result.state) {
    case 'claimed':
      return `claimed as ${result.attempt}`
    case 'settled':
      return `settled by ${result.attempt} with ${result.outcome.response?.body.toString()}`
    case 'running':
      return result.ownerLeft ? 'running for a client that has left' : 'running'
    case 'mismatch':
      return result.state
  }
}

/** Every run has an outcome of its own. */
function bodyOf (owned: OwnedClaim): string {
  return `the outcome of ${owned.owner}`
}

/** The diagram of `plugin/store/store.ts` in a few lines, as if everything happened at once and time stood still. */
export class Model {
  record: ModelRecord | null = null

  /** Does what the store should do, and answers as it should. */
  apply (operation: Operation): Answer {
    if (operation.kind === 'claim') return this.#claim(operation.claim)
    const { kind, owned } = operation
    const owner = owned.owner
    const { record } = this
    // The state after a claim that took the key over was withdrawn: nothing ran since this run's own claim.
    const isGivenBack =
      kind === 'complete' &&
      record !== null &&
      record.state === 'released' &&
      record.owner !== owner &&
      record.attempt === owned.attempt &&
      record.fingerprint === owned.fingerprint
    if (record !== null && record.owner !== owner && !isGivenBack) return 'false'
    if (kind === 'withdraw') return this.#withdraw()
    if (kind === 'markLeft') return this.#markLeft()
    const done = { renew: 'running', complete: 'settled', release: 'released' } as const
    if (record !== null && record.state !== 'running' && !isGivenBack) {
      return String(kind !== 'renew' && record.state === done[kind])
    }
    if (kind === 'release' && record === null && owned.attempt === 0) return 'true'
    this.record = {
      state: done[kind],
      owner,
      fingerprint: owned.fingerprint,
      attempt: record?.attempt ?? owned.attempt,
      leaseHolds: kind === 'renew',
      ownerLeft: kind === 'renew' && record?.ownerLeft === true,
      body: kind === 'complete' ? bodyOf(owned) : null
    }
    return 'true'
  }

  #withdraw (): Answer {
    const { record } = this
    if (record?.state !== 'running') return 'false'
    this.record = record.attempt === 1
      ? null
      : { ...record, state: 'released', attempt: record.attempt - 1, leaseHolds: false, ownerLeft: false }
    return 'true'
  }

  #markLeft (): Answer {
    if (this.record?.state !== 'running') return 'false'
    if (!this.record.ownerLeft) this.record = { ...this.record, ownerLeft: true }
    return 'true'
  }

  #claim (claim: Claim): Answer {
    const owner = claim.owner
    const fingerprint = claim.fingerprint
    const { record } = this
    if (record !== null) {
      if (record.fingerprint !== fingerprint) return 'mismatch'
      if (record.state === 'settled') return `settled by ${record.attempt} with ${record.body}`
      if (record.state === 'running' && record.owner === owner) return `claimed as ${record.attempt}`
      if (record.state === 'running' && (record.leaseHolds || !claim.takeOver)) {
        return record.ownerLeft ? 'running for a client that has left' : 'running'
      }
    }
    const attempt = (record?.attempt ?? 0) + 1
    this.record = { state: 'running', owner, fingerprint, attempt, leaseHolds: true, ownerLeft: false, body: null }
    return `claimed as ${attempt}`
  }

  /** What `apply` would answer now. */
  peek (operation: Operation): Answer {
    const copy = new Model()
    copy.record = this.record
    return copy.apply(operation)
  }

  expireLease (): void {
    if (this.record?.state === 'running') this.record = { ...this.record, leaseHolds: false }
  }
}

/** What must hold whatever the model says. It learns of everything that happens, and throws when something is wrong. */
export class Invariants {
  /** The last owner that was granted the key, if it still has its lease. */
  #holder: string | null = null
  /** The owner that was granted each attempt since the key was new. */
  readonly #granted = new Map<number, string>()
  #last: StoredRecord | null = null
  readonly #withdrewBefore = new Set<string>()
  /** Whether the last step withdrew a claim, and its attempt with it. */
  #withdrawn = false
  #lastBytes: string | null = null

  granted (claim: Claim, attempt: number): void {
    const owner = claim.owner
    assert.ok(this.#holder === null || this.#holder === owner, 'two owners have a lease')
    // The answer to the same claim once more: its lease does not begin again.
    if (this.#granted.get(attempt) === owner) return
    for (const earlier of this.#granted.keys()) {
      assert.ok(attempt > earlier, `attempt ${attempt} is granted after ${earlier}`)
    }
    this.#granted.set(attempt, owner)
    this.#holder = owner
  }

  withdrew ({ owner }: OwnedClaim): void {
    const attempt = this.#last?.attempt ?? 0
    assert.equal(this.#granted.get(attempt), owner, 'what is withdrawn is the last claim that was granted')
    this.#granted.delete(attempt)
    this.#withdrewBefore.add(owner)
    this.#holder = null
    this.#withdrawn = true
  }

  succeeded (kind: 'renew' | 'complete' | 'release', { owner, attempt }: OwnedClaim): void {
    const name = owner
    // A record that was lost is written again with the same attempt. An owner that withdrew has released already.
    if (attempt > 0 && !(kind === 'release' && this.#withdrewBefore.has(name))) this.#granted.set(attempt, name)
    assert.ok(this.#holder === null || this.#holder === name, `${kind} of a late owner succeeded`)
    this.#holder = kind === 'renew' ? name : null
  }

  leaseExpired (): void {
    this.#holder = null
  }

  forgotten (): void {
    this.#holder = null
    this.#granted.clear()
    this.#last = null
    this.#lastBytes = null
  }

  /** After each step: the record may only move from its previous state along an arrow of the diagram. */
  moved (found: StoredRecord | null, bytes: string | null, mayChange: boolean): void {
    const last = this.#last
    const withdrawn = this.#withdrawn
    this.#withdrawn = false
    if (!mayChange) assert.equal(bytes, this.#lastBytes, 'who may not change the record did')
    if (last !== null && withdrawn) {
      assert.equal(last.state, 'running')
      assert.deepEqual(
        found && { state: found.state, attempt: found.attempt },
        last.attempt === 1 ? null : { state: 'released', attempt: last.attempt - 1 },
        'the record is as it was before the claim'
      )
    } else if (last !== null) {
      assert.ok(found !== null, 'the record vanished')
      const attempt = found.attempt === last.attempt + 1 ? 'next ' : found.attempt === last.attempt ? '' : '? '
      const step = `${last.state} ${attempt}${found.state}`
      assert.ok(MOVES.has(step), `no way leads from ${last.state} ${last.attempt} to ${found.state} ${found.attempt}`)
      if (last.state === 'settled') assert.deepEqual(found.outcome, last.outcome, 'a settled outcome changed')
    }
    this.#last = found
    this.#lastBytes = bytes
  }
}

const MOVES = new Set([
  'running running', 'running next running', 'running released', 'running settled',
  'released released', 'released next running', 'released settled',
  'settled settled'
])
