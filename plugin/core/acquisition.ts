import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { answerOf } from './store-timeout.ts'
import type { Engine } from './engine.ts'
import { StoreTimeoutError } from '../errors.ts'
import { HeldPursuit } from './waiter.ts'
import { PatientClaim } from './cautious-claim.ts'
import { answered, conflict, failed, fromPending } from './contender.ts'
import type { Asked, Obtained, Pursuit } from './contender.ts'
import { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from '../store/store.ts'
import type { ClaimResult } from '../store/store.ts'
import { Wake } from '../shared/wait.ts'

/**
 * Milliseconds in which the owner's client may turn out to have left: its end reaches the owner's process, and the
 * duplicate that it sends in the same moment another one, in any order.
 */
const GRACE = 250
/** How often in a row the store may end a wait at once before it is not asked again for `BRAKE` milliseconds. */
const QUICK_WAITS = 3
const BRAKE = 50

/** As this process asks. */
interface Question extends Asked {
  readonly claim: PatientClaim
}

/** After these errors nothing has changed in the store. */
const UNTOUCHED = [StoreUnreachableError, StoreRefusedError, RecordUnreadableError]

/**
 * How those of this process that want one key for one request get it together: one question to the store serves all.
 * So what the store is asked grows with the processes, not with those who wait. The first one to be there when the key
 * is free gets it; the others go on.
 */
export class Acquisition {
  readonly #engine: Engine
  readonly #first: Pursuit
  readonly #held: HeldPursuit[] = []
  /** Aborts a wait that nobody is left to wait for. */
  #waiting: AbortController | null = null
  /** The key is known to have an owner. */
  #isOwned = false
  #ownerLeft = false
  #leaseLeft = 0
  /** `performance.now()` at which an owner whose lease is over may be replaced: a process that was idle hesitates. */
  #hesitatesUntil = 0

  constructor (first: Pursuit) {
    this.#engine = first.engine
    this.#first = first
  }

  isOf ({ identity, settings }: Pursuit): boolean {
    return identity.fingerprint === this.#first.identity.fingerprint && settings === this.#first.settings
  }

  begin (): Promise<Obtained | 'bypass'> {
    const { id } = this.#first.subject
    const { acquisitions } = this.#engine
    // Another request's is left alone: its key is not this one's anyway.
    if (!acquisitions.has(id)) acquisitions.set(id, this)
    const asked = this.#question()
    return this.#ask(asked).then<Obtained | 'bypass', Obtained | 'bypass'>((result) => {
      if (result.state !== 'running' && this.#held.length === 0) {
        this.#end()
        return answered(this.#first, asked, result)
      }
      const first = new HeldPursuit(this.#first, asked.asked)
      this.#held.unshift(first)
      void this.#goOn(asked, result)
      return first.obtained
    }, (error: unknown) => {
      this.#end()
      this.#failAll(asked.asked, error)
      return fromPending(this.#first) ?? failed(this.#first, asked.asked, error, false)
    })
  }

  join (pursuit: Pursuit): Promise<Obtained | 'bypass'> {
    const held = new HeldPursuit(pursuit, performance.now())
    this.#held.push(held)
    if (this.#isOwned) this.#hold(held)
    return held.obtained
  }

  /** The owner's process is this one, and the owner's client has left. */
  ownerLeft (): void {
    if (this.#isOwned && !this.#ownerLeft) this.#waiting?.abort()
  }

  #question (): Question {
    const claim = new PatientClaim(this.#first, this.#engine.hearing)
    return { asked: claim.asked, claim }
  }

  #ask ({ claim, asked }: Asked): Promise<ClaimResult> {
    const { store, deadline } = this.#engine
    const { id } = this.#first.subject
    const call = answerOf(() => store.claim(id, claim))
    return deadline.race(call).then((result) => {
      if (result.state !== 'claimed' || performance.now() - asked < claim.lease) return result
      this.#withdrawWhenKnown(call, claim)
      throw new StoreTimeoutError('The idempotency store granted the key only after its lease was over')
    }, (error: unknown) => {
      this.#withdrawWhenKnown(call, claim)
      throw error
    })
  }

  /** A claim whose answer did not come may have been granted: without this, nobody could have the key for a lease. */
  #withdrawWhenKnown (call: Promise<ClaimResult>, claim: Asked['claim']): void {
    void call.then(({ state }) => {
      if (state === 'claimed') this.#withdraw(claim)
    }, (error: unknown) => {
      if (!UNTOUCHED.some(type => error instanceof type)) this.#withdraw(claim)
    })
  }

  #withdraw (claim: Asked['claim']): void {
    const { pending, log } = this.#engine
    pending.withdraw(this.#first.subject.id, claim, log)
  }

  /** Asks until all have got their answer. */
  async #goOn (asked: Question, result: ClaimResult): Promise<void> {
    const { closing } = this.#engine
    const onClosing = (): void => { this.#holdAll() }
    closing.addEventListener('abort', onClosing)
    let quickWaits = 0
    try {
      this.#deliver(asked, result)
      while (this.#held.length > 0) {
        // Whoever was just granted the key becomes its owner, which is this process's own.
        await setImmediate()
        const began = performance.now()
        if (!await this.#pause()) {
          this.#holdAll()
          continue
        }
        quickWaits = performance.now() - began < BRAKE ? quickWaits + 1 : 0
        if (quickWaits > QUICK_WAITS) await sleep(BRAKE)
        if (this.#held.length === 0 || this.#deliverPending()) return
        asked = this.#question()
        result = await this.#ask(asked)
        this.#deliver(asked, result)
      }
    } catch (error) {
      this.#failAll(asked.asked, error)
    } finally {
      closing.removeEventListener('abort', onClosing)
      this.#end()
    }
  }

  #deliver (asked: Question, result: ClaimResult): void {
    switch (result.state) {
      case 'claimed': {
        this.#isOwned = true
        this.#ownerLeft = false
        this.#leaseLeft = this.#first.settings.lease
        this.#hesitatesUntil = 0
        const owner = this.#held.find(({ pursuit }) => pursuit.client?.hasLeft !== true)
        // While the app closes nothing new is begun for those who waited.
        if (owner === undefined || (owner.isHeld && this.#engine.closing.aborted)) this.#withdraw(asked.claim)
        else this.#take(owner).resolve(answered(owner.pursuit, asked, result))
        return this.#holdAll()
      }
      case 'running':
        this.#isOwned = true
        this.#ownerLeft = result.ownerLeft
        this.#leaseLeft = Number.isFinite(result.leaseLeft) ? result.leaseLeft : 0
        this.#hesitatesUntil = this.#leaseLeft > 0 ? 0 : this.#hesitation(asked.claim)
        return this.#holdAll()
      default:
        for (const held of this.#takeAll()) held.resolve(answered(held.pursuit, asked, result))
    }
  }

  /** Whether the store has yet to get the outcome, which all have got then. */
  #deliverPending (): boolean {
    for (const held of [...this.#held]) {
      const known = fromPending(held.pursuit)
      if (known === null) return false
      this.#take(held).resolve(known)
    }
    return true
  }

  #hesitation ({ refrained }: PatientClaim): number {
    const now = performance.now()
    const { hearing } = this.#engine
    const { lease } = this.#first.settings
    // Over since the store looked, it is asked once more.
    if (refrained && hearing.patience(lease, now) === 0) return now + 1
    return now + hearing.moment(lease, now)
  }

  #holdAll (): void {
    for (const held of [...this.#held]) this.#hold(held)
  }

  /** Holds one, or refuses it: the key has an owner. */
  #hold (held: HeldPursuit): void {
    const { pursuit, began } = held
    const { engine, settings: { onConflict, waitTimeout, maxWaitersPerKey } } = pursuit
    const owner = engine.leases.ownerOf(pursuit.subject.id)
    const isLocal = owner !== undefined
    if (owner?.clientLeft === true) this.#ownerLeft = true
    const waits = onConflict === 'wait' || held.isWaiting || (onConflict === 'auto' && this.#ownerLeft)
    // Whose client was answered while the handler goes on (`handlerTimeout`) has nobody who could yet leave.
    const mayLeave = onConflict === 'auto' && owner?.isWatched !== false
    // Refused while this process hesitates, it would be refused each time that it came back to an idle one.
    const until = Math.max(began + (waits ? waitTimeout : mayLeave ? GRACE : 0), this.#hesitatesUntil)
    const isFull = engine.waiting >= engine.settings.maxWaiters || this.#held.length > maxWaitersPerKey
    const isOver = until <= performance.now() || pursuit.client?.hasLeft === true
    if ((isFull && !held.isHeld) || isOver || (engine.closing.aborted && !isLocal)) return this.#refuse(held)
    // In its grace it is not refused before the store was asked once more.
    held.hold(waits ? until : until + engine.settings.storeTimeout, waits, () => { this.#refuse(held) })
  }

  #refuse (held: HeldPursuit): void {
    this.#take(held).reject(conflict(held.pursuit, held.began))
    if (this.#held.length === 0) this.#waiting?.abort()
  }

  /** Until the store is worth asking again. False: it is not, since its owner is this process's own and at work. */
  async #pause (): Promise<boolean> {
    const { engine, subject: { id }, settings: { onConflict, lease } } = this.#first
    const now = performance.now()
    const waiting = this.#waiting = new AbortController()
    const { signal } = waiting
    const owner = engine.leases.ownerOf(id)
    const mayRefuse = onConflict === 'auto' && !this.#ownerLeft && this.#hesitatesUntil <= now
    // Those who wait for an owner whose client had left wait for the next one too.
    const inGrace = mayRefuse ? this.#held.filter(({ isWaiting }) => !isWaiting) : []
    if (inGrace.length > 0) {
      const graceEnds = Math.min(...inGrace.map(({ began }) => began + GRACE))
      await (owner?.over ?? new Wake()).orAfter(Math.max(1, graceEnds - now), signal)
      return owner === undefined || engine.leases.ownerOf(id) !== owner
    }
    const longest = Math.max(...this.#held.map(({ until }) => until)) - now
    // Plus one, since timers are early by a fraction of a millisecond.
    const expires = Math.max(this.#leaseLeft, engine.hearing.patience(lease, now)) + 1
    const timeout = Math.max(1, Math.min(longest, expires))
    // What an owner of this process does is known without the store.
    if (owner !== undefined) await owner.over.orAfter(timeout, signal)
    else await this.#waitForStore(id, timeout, waiting)
    return true
  }

  /** Stores are other people's code: whether their wait ends is not left to them. */
  async #waitForStore (id: string, timeout: number, waiting: AbortController): Promise<void> {
    const { signal } = waiting
    const wait = answerOf(() => this.#engine.store.wait(id, timeout, signal)).catch(() => {})
    await Promise.race([wait, new Wake().orAfter(timeout, signal)])
    waiting.abort()
  }

  #take (held: HeldPursuit): HeldPursuit {
    const index = this.#held.indexOf(held)
    if (index !== -1) this.#held.splice(index, 1)
    return held
  }

  #takeAll (): HeldPursuit[] {
    return this.#held.splice(0)
  }

  #failAll (asked: number, error: unknown): void {
    for (const held of this.#takeAll()) {
      try {
        held.resolve(fromPending(held.pursuit) ?? failed(held.pursuit, asked, error, this.#isOwned))
      } catch (refusal) {
        held.reject(refusal)
      }
    }
  }

  #end (): void {
    const { acquisitions } = this.#engine
    const { id } = this.#first.subject
    if (acquisitions.get(id) === this) acquisitions.delete(id)
  }
}
