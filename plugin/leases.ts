import { AsyncResource } from 'node:async_hooks'
import type { Deadline } from './deadline.ts'
import { LeaseLostError } from './errors.ts'
import { channels, eventOf } from './diagnostics.ts'
import type { Ownership } from './ownership.ts'
import { Run } from './request/run.ts'
import type { Store } from './store/store.ts'

/**
 * Renews the leases of the handlers that run, and tells those that lose theirs. One timer for the whole process, and
 * nothing to do for a handler that is done within a third of its lease.
 */
export class Leases {
  readonly #store: Store
  readonly #deadline: Deadline
  readonly #onUnseen: (run: Run) => void
  readonly #held = new Set<Ownership>()
  /** That of the registration: the timer is everybody's, not a part of the request that happens to start it. */
  readonly #context = new AsyncResource('fastify-idempotency.leases')
  #period = Infinity
  #timer: NodeJS.Timeout | null = null
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

  /** Makes the timer fine enough for leases of this many milliseconds. */
  cover (lease: number): void {
    this.#period = Math.min(this.#period, Math.max(1, Math.floor(lease / 6)))
  }

  hold (owner: Ownership): void {
    this.#held.add(owner)
    this.#arm()
  }

  letGo (owner: Ownership): void {
    this.#held.delete(owner)
  }

  #arm (): void {
    this.#timer ??= this.#context.runInAsyncScope(() => setTimeout(this.#check, this.#period).unref())
  }

  #check = (): void => {
    this.#timer = null
    const now = performance.now()
    for (const owner of this.#held) {
      const { lease } = owner.owned
      const silent = now - owner.leaseBegan
      // `reply.raw.end()`
      if (owner instanceof Run && owner.stage === 'open' && owner.reply.raw.writableFinished) this.#onUnseen(owner)
      // Told a little early rather than late: the next check may come when another attempt already runs.
      else if (silent + this.#period > lease) this.#lose(owner, `the lease of ${lease} ms ran out`)
      else if (silent >= lease / 3 && owner.renewable(now)) void this.#renew(owner)
    }
    if (this.#held.size > 0) this.#arm()
  }

  async #renew (owner: Ownership): Promise<void> {
    const asked = performance.now()
    owner.renewing = true
    try {
      const owned = await this.#deadline.race(this.#store.renew(owner.id, owner.owned))
      if (owned) owner.leaseBegan = asked
      // The handler may have finished while the renewal was on its way.
      else if (this.#held.has(owner)) this.#lose(owner, 'another attempt owns the key')
    } catch (error) {
      owner.log.warn({ err: error }, 'idempotency: the lease could not be renewed, trying again')
      if (channels.storeFailed.hasSubscribers) channels.storeFailed.publish({ ...eventOf(owner, owner.owned.attempt, asked), operation: 'renew', error })
    } finally {
      owner.renewing = false
    }
  }

  #lose (owner: Ownership, why: string): void {
    this.#held.delete(owner)
    this.lost++
    owner.log.warn(`idempotency: lost the key while the handler ran: ${why}`)
    if (channels.leaseLost.hasSubscribers) channels.leaseLost.publish(eventOf(owner, owner.owned.attempt, owner.began))
    owner.abort(new LeaseLostError(`The idempotency key is not, or may no longer be, this run's own: ${why}`))
  }

  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }
}
