import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { StoreTimeoutError } from '../errors.ts'
import { isDoneWithin, Wake } from '../shared/wait.ts'
import { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from '../store/store.ts'
import type { ClaimResult } from '../store/store.ts'
import { CautiousClaim } from './cautious-claim.ts'
import type { Acquired, Contender, Engine, SentClaim, SharedAcquisition } from './engine.ts'
import { give } from './give.ts'
import { GRACE, holdFor } from './hold-policy.ts'
import { conflict, fromMemory, resultFor, storeFailed } from './results.ts'
import { promiseOf } from './store-timeout.ts'
import { Waiter } from './waiter.ts'

/** How often in a row the store may end a wait at once before it is not asked again for `BRAKE` milliseconds. */
const QUICK_WAITS = 3
const BRAKE = 50

interface OwnClaim extends SentClaim {
  readonly claim: CautiousClaim
}

/** After these errors the store is as it was. */
const UNTOUCHED = [StoreUnreachableError, StoreRefusedError, RecordUnreadableError]

/**
 * How the contenders of this process that want one key for one request acquire it together: one claim asks for all of
 * them, so the load on the store grows with the processes and not with the duplicates. When the key is free, the first
 * contender gets it and the others wait on.
 */
export class Acquisition implements SharedAcquisition {
  readonly id: string
  nextInBucket: SharedAcquisition | null = null
  readonly #engine: Engine
  readonly #first: Contender
  readonly #waiters: Waiter[] = []
  /** Aborts a wait when nobody is left who needs it. */
  #waiting: AbortController | null = null
  /** The key is known to have an owner. */
  #isOwned = false
  #ownerLeft = false
  /** Milliseconds that the owner's lease had left when the store last answered. */
  #leaseLeft = 0
  /** `performance.now()` from which this process may take over a lease that ran out. */
  #hesitatesUntil = 0

  constructor (first: Contender) {
    this.#engine = first.engine
    this.#first = first
    this.id = first.subject.id
  }

  isFor ({ identity, settings }: Contender): boolean {
    return identity.fingerprint === this.#first.identity.fingerprint && settings === this.#first.settings
  }

  // Without promises: this is the way of every request, and the benchmark shows what they cost here.
  start (): void {
    const { acquisitions } = this.#engine
    // An acquisition of this key for another request, or with other settings, stays registered. This one is not shared.
    if (acquisitions.get(this.id) === undefined) acquisitions.add(this)
    const sent = this.#newClaim()
    this.#send(sent, (result) => {
      if (result.state !== 'running' && this.#waiters.length === 0) {
        this.#end()
        return give(this.#first, resultFor(this.#first, sent, result))
      }
      this.#waiters.unshift(new Waiter(this.#first, sent.sentAt))
      void this.#goOn(sent, result)
    }, (error) => {
      this.#end()
      this.#failAll(sent.sentAt, error)
      let acquired: 'bypass' | Acquired | Promise<Acquired>
      try {
        acquired = fromMemory(this.#first) ?? storeFailed(this.#first, sent.sentAt, error, false)
      } catch (refusal) {
        return this.#first.refused(refusal)
      }
      give(this.#first, acquired)
    })
  }

  join (contender: Contender): void {
    const waiter = new Waiter(contender, performance.now())
    this.#waiters.push(waiter)
    if (this.#isOwned) this.#holdOrReject(waiter)
  }

  ownerLeft (): void {
    if (this.#isOwned && !this.#ownerLeft) this.#waiting?.abort()
  }

  #newClaim (): OwnClaim {
    const claim = new CautiousClaim(this.#first, this.#engine.contact)
    return { claim, sentAt: claim.sentAt }
  }

  /** Calls one of the two functions. */
  #send ({ claim, sentAt }: OwnClaim, answered: (result: ClaimResult) => void, failed: (error: Error) => void): void {
    const { store, storeTimeout, replayCache } = this.#engine
    const call = promiseOf(() => store.claim(this.id, claim))
    storeTimeout.handle(call, (result) => {
      // What is thrown in this function reaches nobody: the process would end, and no contender would get an answer.
      try {
        checkAnswer(result)
        if (result.state === 'settled') replayCache?.keepRead(this.id, claim, result, sentAt)
      } catch (error) {
        return failed(error as Error)
      }
      if (result.state !== 'claimed' || performance.now() - sentAt < claim.lease) return answered(result)
      this.#withdrawIfGranted(call, claim)
      failed(new StoreTimeoutError('The idempotency store granted the key only after its lease was over'))
    }, (error) => {
      this.#withdrawIfGranted(call, claim)
      failed(error)
    })
  }

  #sent (sent: OwnClaim): Promise<ClaimResult> {
    return new Promise((resolve, reject) => { this.#send(sent, resolve, reject) })
  }

  /** A claim whose answer did not arrive may have been granted. It would keep everybody from the key for a lease. */
  #withdrawIfGranted (call: Promise<ClaimResult>, claim: CautiousClaim): void {
    void call.then(({ state }) => {
      if (state === 'claimed') this.#withdraw(claim)
    }, (error: unknown) => {
      if (!UNTOUCHED.some(type => error instanceof type)) this.#withdraw(claim)
    })
  }

  #withdraw (claim: CautiousClaim): void {
    const { retryQueue, log } = this.#engine
    retryQueue.withdraw(this.id, claim, log)
  }

  /** Asks the store until all waiters have their result. */
  async #goOn (sent: OwnClaim, result: ClaimResult): Promise<void> {
    const { closing } = this.#engine
    const onClosing = (): void => { this.#holdOrRejectAll() }
    closing.addEventListener('abort', onClosing)
    let quickWaits = 0
    try {
      this.#deliver(sent, result)
      while (this.#waiters.length > 0) {
        // The waiter that was granted the key registers itself as this process's owner in the meantime.
        await setImmediate()
        const startedAt = performance.now()
        if (!await this.#waitForChange()) {
          this.#holdOrRejectAll()
          continue
        }
        quickWaits = performance.now() - startedAt < BRAKE ? quickWaits + 1 : 0
        if (quickWaits > QUICK_WAITS) await sleep(BRAKE)
        if (this.#waiters.length === 0 || this.#deliverFromMemory()) return
        sent = this.#newClaim()
        result = await this.#sent(sent)
        this.#deliver(sent, result)
      }
    } catch (error) {
      this.#failAll(sent.sentAt, error)
    } finally {
      closing.removeEventListener('abort', onClosing)
      this.#end()
    }
  }

  #deliver (sent: OwnClaim, result: ClaimResult): void {
    switch (result.state) {
      case 'claimed':
        this.#isOwned = true
        this.#ownerLeft = false
        this.#leaseLeft = this.#first.settings.lease
        this.#hesitatesUntil = 0
        this.#deliverToOne(sent, result)
        return this.#holdOrRejectAll()
      case 'running':
        this.#isOwned = true
        this.#ownerLeft = result.ownerLeft
        this.#leaseLeft = Number.isFinite(result.leaseLeft) ? result.leaseLeft : 0
        this.#hesitatesUntil = this.#leaseLeft > 0 ? 0 : this.#mayTakeOverAt(sent.claim)
        return this.#holdOrRejectAll()
      default:
        for (const waiter of this.#takeAll()) waiter.resolve(resultFor(waiter.contender, sent, result))
    }
  }

  #deliverToOne (sent: OwnClaim, result: Extract<ClaimResult, { state: 'claimed' }>): void {
    const next = this.#waiters.find(({ contender }) => contender.client?.hasLeft !== true)
    // While the app closes, waiters begin no new run.
    if (next === undefined || (next.isHeld && this.#engine.closing.aborted)) return this.#withdraw(sent.claim)
    this.#take(next).resolve(resultFor(next.contender, sent, result))
  }

  /** Whether all have got an outcome that this process knows. */
  #deliverFromMemory (): boolean {
    for (const waiter of [...this.#waiters]) {
      const known = fromMemory(waiter.contender)
      if (known === null) return false
      this.#take(waiter).resolve(known)
    }
    return true
  }

  /** `performance.now()` from which the owner, whose lease is over, may be replaced. */
  #mayTakeOverAt ({ refrained }: CautiousClaim): number {
    const now = performance.now()
    const { contact } = this.#engine
    const { lease } = this.#first.settings
    // The delay ended after the store had looked: ask once more, at once.
    if (refrained && contact.takeOverDelay(lease, now) === 0) return now + 1
    return now + contact.shortTakeOverDelay(lease, now)
  }

  #holdOrRejectAll (): void {
    for (const waiter of [...this.#waiters]) this.#holdOrReject(waiter)
  }

  #holdOrReject (waiter: Waiter): void {
    if (this.#engine.leases.ownerOf(this.id)?.clientLeft === true) this.#ownerLeft = true
    const hold = holdFor(waiter, {
      ownerLeft: this.#ownerLeft, hesitatesUntil: this.#hesitatesUntil, waiters: this.#waiters.length
    })
    if (hold === null) this.#reject(waiter)
    else waiter.hold(hold.until, hold.waitsForOwner, () => { this.#reject(waiter) })
  }

  #reject (waiter: Waiter): void {
    this.#take(waiter).reject(conflict(waiter.contender, waiter.startedAt))
    if (this.#waiters.length === 0) this.#waiting?.abort()
  }

  /**
   * Waits until there may be something new. False: this process's own owner is still at work, so the store need not be
   * asked.
   */
  async #waitForChange (): Promise<boolean> {
    const { engine, subject: { id }, settings: { onConflict, lease } } = this.#first
    const now = performance.now()
    const waiting = this.#waiting = new AbortController()
    const { signal } = waiting
    const owner = engine.leases.ownerOf(id)
    const mayReject = onConflict === 'auto' && !this.#ownerLeft && this.#hesitatesUntil <= now
    // Those that waited for an owner whose client had left wait for the next owner too.
    const inGrace = mayReject ? this.#waiters.filter(({ waitsForOwner }) => !waitsForOwner) : []
    if (inGrace.length > 0) {
      const graceEndsAt = Math.min(...inGrace.map(({ startedAt }) => startedAt + GRACE))
      await (owner?.over ?? new Wake()).orAfter(Math.max(1, graceEndsAt - now), signal)
      return owner === undefined || engine.leases.ownerOf(id) !== owner
    }
    const longest = Math.max(...this.#waiters.map(({ heldUntil }) => heldUntil)) - now
    // One more, since timers fire early by a fraction of a millisecond.
    const expiresIn = Math.max(this.#leaseLeft, engine.contact.takeOverDelay(lease, now)) + 1
    const timeout = Math.max(1, Math.min(longest, expiresIn))
    // This process knows what its own owner does. The store is not needed for that.
    if (owner !== undefined) await owner.over.orAfter(timeout, signal)
    else await this.#waitInStore(id, timeout, waiting)
    return true
  }

  /** Does not rely on the store to end the wait: stores are other people's code. */
  async #waitInStore (id: string, timeout: number, waiting: AbortController): Promise<void> {
    const { signal } = waiting
    const wait = promiseOf(() => this.#engine.store.wait(id, timeout, signal)).catch(() => {})
    await isDoneWithin(wait, timeout, signal)
    waiting.abort()
  }

  #take (waiter: Waiter): Waiter {
    const index = this.#waiters.indexOf(waiter)
    if (index !== -1) this.#waiters.splice(index, 1)
    return waiter
  }

  #takeAll (): Waiter[] {
    return this.#waiters.splice(0)
  }

  #failAll (sentAt: number, error: unknown): void {
    for (const waiter of this.#takeAll()) {
      try {
        const { contender } = waiter
        waiter.resolve(fromMemory(contender) ?? storeFailed(contender, sentAt, error, this.#isOwned))
      } catch (refusal) {
        waiter.reject(refusal)
      }
    }
  }

  #end (): void {
    const { acquisitions } = this.#engine
    if (acquisitions.get(this.id) === this) acquisitions.delete(this.id)
  }
}

/**
 * Checks as much of the answer to a claim as the code behind it relies on.
 * @throws {TypeError} Stores are other people's code, and may answer anything
 */
function checkAnswer (result: ClaimResult): void {
  const { state } = result
  if (state === 'claimed' || state === 'running' || state === 'mismatch') return
  if (state as unknown === 'settled' && result.outcome.response !== undefined) return
  throw new TypeError('The idempotency store answered a claim with something that is no result of a claim')
}
