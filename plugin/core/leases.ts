import { AsyncResource } from 'node:async_hooks'
import type { Events } from '../observe/events.ts'
import { Wake } from '../shared/wait.ts'
import type { Store } from '../store/store.ts'
import { IdTable } from './id-table.ts'
import { leaseLost } from './ownership.ts'
import type { Ownership } from './ownership.ts'
import type { StoreTimeout } from './store-timeout.ts'

/** Milliseconds: how often `untilIdle` looks whether all owners have ended. */
const CLOSING_LOOK = 100

/**
 * Renews the leases of the handlers that run, and tells those that lose theirs. One timer serves all leases of a
 * registration. A handler that ends within a third of its lease costs nothing.
 */
export class Leases {
  readonly #store: Store
  readonly #storeTimeout: StoreTimeout
  readonly #events: Events
  readonly #endIfSent: (owner: Ownership) => boolean
  /** Owners that run, and owners that ended and whose outcome the store does not have yet. */
  readonly #held = new IdTable<Ownership>()
  /** Runs that lost their key and still work. They own nothing, but closing the app must not cut them off. */
  readonly #strays = new Set<Ownership>()
  /** The async context of the registration. The timer belongs to no request, whichever request starts it. */
  readonly #context = new AsyncResource('fastify-idempotency.leases')
  #period = Infinity
  #timer: NodeJS.Timeout | null = null
  #letGo = new Wake()

  /**
   * @param endIfSent ends a run whose answer left without passing through `onSend`, and returns whether there was one
   *   to end. Called in each round for each owner that runs.
   */
  constructor (store: Store, storeTimeout: StoreTimeout, events: Events, endIfSent: (owner: Ownership) => boolean) {
    this.#store = store
    this.#storeTimeout = storeTimeout
    this.#events = events
    this.#endIfSent = endIfSent
  }

  get running (): number {
    return this.#held.size
  }

  /** Milliseconds between two rounds: a sixth of the shortest lease in the app. */
  get period (): number {
    return this.#period
  }

  /** The owner of a key in this process, as far as this process knows. */
  ownerOf (id: string): Ownership | undefined {
    return this.#held.get(id)
  }

  /** Makes the timer fine enough for leases of this many milliseconds. */
  cover (lease: number): void {
    this.#period = Math.min(this.#period, Math.max(1, Math.floor(lease / 6)))
  }

  hold (owner: Ownership): void {
    const earlier = this.#held.get(owner.id)
    if (earlier !== undefined) this.#lose(earlier, 'another attempt owns the key')
    this.#held.add(owner)
    this.#startTimer()
  }

  letGo (owner: Ownership): void {
    if (this.#held.get(owner.id) === owner) this.#held.delete(owner.id)
    if (this.#strays.size > 0) this.#strays.delete(owner)
    owner.noteOver()
    this.#letGo.now()
  }

  /**
   * Resolves when everything whose end this process will learn of has ended, or after `milliseconds`.
   * @returns the owners that are left
   */
  async untilIdle (milliseconds: number): Promise<Ownership[]> {
    const until = performance.now() + milliseconds
    for (;;) {
      const left = [...this.#held.values(), ...this.#strays]
      const now = performance.now()
      if (now >= until || !left.some(({ isWatched }) => isWatched)) return left
      this.#letGo = new Wake()
      await this.#letGo.orAfter(Math.min(until - now, CLOSING_LOOK))
    }
  }

  #startTimer (): void {
    this.#timer ??= this.#context.runInAsyncScope(() => setTimeout(this.#check, this.#period).unref())
  }

  #check = (): void => {
    this.#timer = null
    const now = performance.now()
    for (const owner of this.#held.values()) {
      // Its outcome is on the way to the store. The retry queue keeps the key.
      if (owner.ended) continue
      const { lease } = owner.owned
      const silentFor = now - owner.leaseStartedAt
      if (this.#endIfSent(owner)) continue
      // A little early rather than late: at the next round another attempt may already run.
      if (silentFor + this.#period > lease) this.#lose(owner, `the lease of ${lease} ms ran out`)
      else if (silentFor >= lease / 3 && owner.isRenewable(now)) void this.#renew(owner)
    }
    for (const stray of this.#strays) {
      // A handler whose client has left may never answer.
      if (now - stray.startedAt >= stray.settings.maxExecution) this.#strays.delete(stray)
    }
    if (this.#held.size + this.#strays.size > 0) this.#startTimer()
  }

  async #renew (owner: Ownership): Promise<void> {
    const sentAt = performance.now()
    owner.renewing = true
    try {
      const isOwner = await this.#storeTimeout.limit(this.#store.renew(owner.id, owner.owned))
      if (isOwner) owner.leaseStartedAt = sentAt
      // The handler may have ended while the renewal was on its way.
      else if (!owner.ended && this.#held.get(owner.id) === owner) this.#lose(owner, 'another attempt owns the key')
    } catch (error) {
      this.#events.storeFailed({
        subject: owner,
        attempt: owner.owned.attempt,
        sentAt,
        operation: 'renew',
        error,
        log: owner.log,
        level: 'warn',
        message: 'idempotency: the lease could not be renewed, trying again'
      })
    } finally {
      owner.renewing = false
    }
  }

  #lose (owner: Ownership, why: string): void {
    this.letGo(owner)
    if (owner.ended) return
    this.#strays.add(owner)
    this.#events.leaseLost(owner, why)
    owner.abort(leaseLost(why))
  }

  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }
}
