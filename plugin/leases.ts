import type { Deadline } from './deadline.ts'
import { LeaseLostError } from './errors.ts'
import type { Run } from './request/run.ts'
import type { Store } from './store/store.ts'

/**
 * Renews the leases of the handlers that run, and tells those that lose theirs. One timer for the whole process, and
 * nothing to do for a handler that is done within a third of its lease.
 */
export class Leases {
  readonly #store: Store
  readonly #deadline: Deadline
  readonly #onUnseen: (run: Run) => void
  readonly #held = new Set<Run>()
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

  hold (run: Run): void {
    this.#held.add(run)
    this.#arm()
  }

  letGo (run: Run): void {
    this.#held.delete(run)
  }

  #arm (): void {
    this.#timer ??= setTimeout(this.#check, this.#period).unref()
  }

  #check = (): void => {
    this.#timer = null
    const now = performance.now()
    for (const run of this.#held) {
      const { lease } = run.owned
      const silent = now - run.leaseBegan
      // `reply.raw.end()`
      if (run.stage === 'open' && run.reply.raw.writableFinished) this.#onUnseen(run)
      // Told a little early rather than late: the next check may come when another attempt already runs.
      else if (silent + this.#period > lease) this.#lose(run, `the lease of ${lease} ms ran out`)
      else if (silent >= lease / 3 && run.renewable(now)) void this.#renew(run)
    }
    if (this.#held.size > 0) this.#arm()
  }

  async #renew (run: Run): Promise<void> {
    const asked = performance.now()
    run.renewing = true
    try {
      const owned = await this.#deadline.race(this.#store.renew(run.id, run.owned))
      if (owned) run.leaseBegan = asked
      // The handler may have finished while the renewal was on its way.
      else if (this.#held.has(run)) this.#lose(run, 'another attempt owns the key')
    } catch (err) {
      run.log.warn({ err }, 'idempotency: the lease could not be renewed, trying again')
    } finally {
      run.renewing = false
    }
  }

  #lose (run: Run, why: string): void {
    this.#held.delete(run)
    this.lost++
    run.log.warn(`idempotency: lost the key while the handler ran: ${why}`)
    run.abort(new LeaseLostError(`The idempotency key is not, or may no longer be, this run's own: ${why}`))
  }

  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }
}
