import { AsyncResource } from 'node:async_hooks'
import type { Deadline } from './store-timeout.ts'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { LeaseLostError } from '../errors.ts'
import { channels, eventOf } from '../observe/channels.ts'
import type { Ownership } from './ownership.ts'
import { Run } from '../request/run.ts'
import type { Store } from '../store/store.ts'
import { Wake } from '../shared/wait.ts'

/** Milliseconds between two looks at what is left to wait for when the app closes. */
const CLOSING_LOOK = 100

/**
 * Renews the leases of the handlers that run, and tells those that lose theirs. One timer for the whole process, and
 * nothing to do for a handler that is done within a third of its lease.
 */
export class Leases {
  readonly #store: Store
  readonly #deadline: Deadline
  readonly #onUnseen: (run: Run) => void
  /** By record id: those that run, and those that ended and whose outcome the store does not have yet. */
  readonly #held = new Map<string, Ownership>()
  /** Those that lost their key and still run: nothing is owned by them, but they are not to be cut off either. */
  readonly #strays = new Set<Ownership>()
  /** That of the registration: the timer is everybody's, not a part of the request that happens to start it. */
  readonly #context = new AsyncResource('fastify-idempotency.leases')
  #period = Infinity
  #timer: NodeJS.Timeout | null = null
  #letGo = new Wake()
  /** How many were lost so far. */
  lost = 0

  /** @param onUnseen called for a run whose answer left without passing through `onSend` */
  constructor (store: Store, deadline: Deadline, onUnseen: (run: Run) => void) {
    this.#store = store
    this.#deadline = deadline
    this.#onUnseen = onUnseen
  }

  get running (): number {
    return this.#held.size
  }

  /** Milliseconds: a sixth of the shortest lease in the app. */
  get period (): number {
    return this.#period
  }

  /** Who owns a key in this process, as far as this process knows. */
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
    this.#held.set(owner.id, owner)
    this.#arm()
  }

  letGo (owner: Ownership): void {
    if (this.#held.get(owner.id) === owner) this.#held.delete(owner.id)
    this.#strays.delete(owner)
    owner.noteOver()
    this.#letGo.now()
  }

  /** Resolves when nothing runs or is held any more whose end can be known, or after `milliseconds`, with what is left. */
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

  #arm (): void {
    this.#timer ??= this.#context.runInAsyncScope(() => setTimeout(this.#check, this.#period).unref())
  }

  #check = (): void => {
    this.#timer = null
    const now = performance.now()
    for (const owner of this.#held.values()) {
      // The outcome is on its way to the store, which keeps the key as a renewal would.
      if (owner.ended) continue
      const { lease } = owner.owned
      const silent = now - owner.leaseBegan
      // `reply.raw.end()`
      if (owner instanceof Run && owner.stage === 'open' && owner.reply.raw.writableFinished) this.#onUnseen(owner)
      // Told a little early rather than late: the next check may come when another attempt already runs.
      else if (silent + this.#period > lease) this.#lose(owner, `the lease of ${lease} ms ran out`)
      else if (silent >= lease / 3 && owner.renewable(now)) void this.#renew(owner)
    }
    for (const stray of this.#strays) {
      // A handler whose client has left may never answer.
      if (now - stray.began >= stray.settings.maxExecution) this.#strays.delete(stray)
    }
    if (this.#held.size + this.#strays.size > 0) this.#arm()
  }

  async #renew (owner: Ownership): Promise<void> {
    const asked = performance.now()
    owner.renewing = true
    try {
      const owned = await this.#deadline.race(this.#store.renew(owner.id, owner.owned))
      if (owned) owner.leaseBegan = asked
      // The handler may have finished while the renewal was on its way.
      else if (!owner.ended && this.#held.get(owner.id) === owner) this.#lose(owner, 'another attempt owns the key')
    } catch (error) {
      owner.log.warn({ err: factsOf(error) }, 'idempotency: the lease could not be renewed, trying again')
      if (channels.storeFailed.hasSubscribers) {
        channels.storeFailed.publish({ ...eventOf(owner, owner.owned.attempt, asked), operation: 'renew', error: bareError(error) })
      }
    } finally {
      owner.renewing = false
    }
  }

  #lose (owner: Ownership, why: string): void {
    this.letGo(owner)
    if (owner.ended) return
    this.#strays.add(owner)
    this.lost++
    owner.log.warn(`idempotency: lost the key while the handler ran: ${why}`)
    if (channels.leaseLost.hasSubscribers) channels.leaseLost.publish(eventOf(owner, owner.owned.attempt, owner.began))
    owner.abort(new LeaseLostError(`The idempotency key is not, or may no longer be, this run's own: ${why}`))
  }

  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }
}
