import type { FastifyBaseLogger } from 'fastify'
import { StoreTimeoutError } from '../errors.ts'
import { factsOf } from '../shared/error-facts.ts'
import { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from '../store/store.ts'
import type { Claim, Outcome, OwnedClaim, Store } from '../store/store.ts'
import type { Ownership } from './ownership.ts'
import type { StoreTimeout } from './store-timeout.ts'

/** Milliseconds between two rounds: at first, and at most. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 250
/** How many tasks are tried one after the other before the store counts as one that takes nothing. */
const PROBES = 4
/** How many tasks are tried side by side once the store takes something. */
const AT_ONCE = 64
/** How often a store that renews the lease may refuse the outcome before a smaller outcome takes its place. */
const REFUSALS = 2

/** What an owner that has ended still has to tell the store. */
export interface Unstored {
  owner: Ownership
  /** The owner's claim. It has another fingerprint if another request committed the outcome. */
  owned: OwnedClaim
  /** `null`: the key is to be released. */
  outcome: Outcome | null
  /**
   * Called once the store has it, with whether the key was still the owner's. If it is given up, the key no longer is.
   */
  stored: (isOwner: boolean) => void
}

interface Task {
  /** Resolves to whether nothing is left to do. Rejects where the store takes nothing now. */
  attempt: () => Promise<boolean>
  /** Says in the log that it was not done. */
  giveUp: () => void
  /** `performance.now()` after which it is given up. */
  expiresAt: number
}

/**
 * What the store has not taken yet: outcomes and releases, which are kept and sent until the store has them, and claims
 * to be withdrawn. It sends them in rounds: a few at first, and all others once the store has taken one. A round begins
 * as soon as the store can be reached again, and every quarter of a second at the latest. Where the store refuses an
 * outcome, the queue renews the owner's lease, so that nobody takes over the key of an outcome that waits here. It
 * holds as many tasks as handlers ran when the store went away, since without the store no run begins.
 */
export class RetryQueue {
  readonly #store: Store
  readonly #storeTimeout: StoreTimeout
  readonly #leasePeriod: () => number
  readonly #tasks = new Set<Task>()
  /** By record id. */
  readonly #unstored = new Map<string, Unstored>()
  readonly #stopListening: () => void
  #pause = FIRST_PAUSE
  #timer: NodeJS.Timeout | null = null
  #round: Promise<void> | null = null

  /** @param leasePeriod milliseconds: how soon a lease that is about to run out has to be renewed */
  constructor (store: Store, storeTimeout: StoreTimeout, leasePeriod: () => number) {
    this.#store = store
    this.#storeTimeout = storeTimeout
    this.#leasePeriod = leasePeriod
    this.#stopListening = store.onReady?.(() => { this.#startRound() }) ?? (() => {})
  }

  get size (): number {
    return this.#tasks.size
  }

  /** The outcome of a key that this process knows and the store does not have yet. Duplicates are answered from it. */
  outcomeOf (id: string): Unstored & { outcome: Outcome } | undefined {
    const unstored = this.#unstored.get(id)
    if (unstored === undefined || unstored.outcome === null) return undefined
    return unstored as Unstored & { outcome: Outcome }
  }

  /**
   * Keeps an outcome or a release until the store has it, for its retention at most.
   * @param error what the store answered to the first try
   */
  keep (unstored: Unstored, error: unknown): void {
    const { owner: { id, log, settings }, outcome } = unstored
    this.#unstored.set(id, unstored)
    let refusals = error instanceof StoreRefusedError ? 1 : 0
    let toSend = outcome
    this.#add({
      attempt: async () => {
        try {
          return this.#stored(unstored, await this.#storeTimeout.limit(this.#send(unstored, toSend)))
        } catch (error) {
          if (error instanceof RecordUnreadableError) return this.#dropped(unstored)
          const isAway = error instanceof StoreUnreachableError || error instanceof StoreTimeoutError
          if (outcome === null || isAway) throw error
          await this.#renew(unstored)
          // The store works, since it renewed the lease: it refuses this outcome, for its size or for want of memory.
          if (++refusals === REFUSALS && outcome.response !== null) {
            toSend = { statusCode: outcome.statusCode, response: null }
            log.error(
              { err: factsOf(error) },
              'idempotency: the store has no room for the response: the key is settled without it'
            )
          }
          return false
        }
      },
      giveUp: () => {
        log.error(`idempotency: the ${nameOf(outcome)} is not in the store: ` +
          'once the lease is over a retry may run, with a higher attempt')
        this.#forget(unstored)
        unstored.stored(false)
      },
      expiresAt: performance.now() + settings.retention
    })
  }

  /** Undoes a claim that let nothing run, once the store answers. */
  withdraw (id: string, claim: Claim, log: FastifyBaseLogger): void {
    this.#add({
      attempt: async () => {
        await this.#storeTimeout.limit(this.#store.withdraw(id, claim)).catch((error: unknown) => {
          if (!(error instanceof RecordUnreadableError)) throw error
        })
        return true
      },
      giveUp: () => {
        log.warn('idempotency: a claim that let nothing run could not be undone: ' +
          'the next run is told of an earlier attempt')
      },
      expiresAt: performance.now() + claim.lease
    })
    this.#startRound()
  }

  #send ({ owner, owned }: Unstored, outcome: Outcome | null): Promise<boolean> {
    return outcome === null
      ? this.#store.release(owner.id, owned)
      : this.#store.complete(owner.id, owned, outcome)
  }

  async #renew ({ owner, owned }: Unstored): Promise<void> {
    // Whether another attempt owns the key by now, the next try to complete it tells.
    await this.#storeTimeout.limit(this.#store.renew(owner.id, owned))
  }

  #stored (unstored: Unstored, isOwner: boolean): true {
    const { owner: { log }, outcome } = unstored
    this.#forget(unstored)
    if (isOwner) log.info(`idempotency: the ${nameOf(outcome)} that had failed is stored now`)
    else warnTooLate(log, outcome)
    unstored.stored(isOwner)
    return true
  }

  /** The record is that of another version of this package, and can no longer be changed by this one. */
  #dropped (unstored: Unstored): true {
    const { owner: { log }, outcome } = unstored
    log.error(`idempotency: the ${nameOf(outcome)} is not in the store, ` +
      'since the key has a record that this version cannot read')
    this.#forget(unstored)
    unstored.stored(false)
    return true
  }

  #forget (unstored: Unstored): void {
    const { id } = unstored.owner
    if (this.#unstored.get(id) === unstored) this.#unstored.delete(id)
  }

  #add (task: Task): void {
    this.#tasks.add(task)
    if (this.#timer === null && this.#round === null) this.#schedule(this.#pause = FIRST_PAUSE)
  }

  #schedule (pause: number): void {
    this.#timer = setTimeout(() => { this.#startRound() }, Math.min(pause, this.#leasePeriod()))
    this.#timer.unref()
  }

  #startRound (): void {
    if (this.#round !== null || this.#tasks.size === 0) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#round = this.#tryAll().finally(() => {
      this.#round = null
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE)
      if (this.#tasks.size > 0) this.#schedule(this.#pause)
    })
  }

  async #tryAll (): Promise<void> {
    const tasks = [...this.#tasks]
    let next = 0
    let took = false
    while (!took && next < Math.min(PROBES, tasks.length)) took = await this.#try(tasks[next++] as Task)
    if (!took) return
    this.#pause = FIRST_PAUSE
    for (; next < tasks.length; next += AT_ONCE) {
      await Promise.all(tasks.slice(next, next + AT_ONCE).map(task => this.#try(task)))
    }
  }

  /** Whether the store took something. */
  async #try (task: Task): Promise<boolean> {
    try {
      if (await task.attempt()) this.#tasks.delete(task)
      return true
    } catch {
      // The log has the first failure, and this is one of the same store. In the next round other tasks come first.
      this.#tasks.delete(task)
      if (performance.now() < task.expiresAt) this.#tasks.add(task)
      else task.giveUp()
      return false
    }
  }

  /** Tries each task one last time, all at once. What fails now is lost with this process, and the log says so. */
  async close (): Promise<void> {
    this.#stopListening()
    await this.#round
    if (this.#timer !== null) clearTimeout(this.#timer)
    await Promise.all([...this.#tasks].map(async (task) => {
      // An outcome that is refused has its smaller one tried too.
      for (let tries = 0; tries <= REFUSALS && this.#tasks.has(task); tries++) {
        if (!await this.#try(task)) break
      }
    }))
    for (const task of this.#tasks) task.giveUp()
    this.#tasks.clear()
  }
}

export function warnTooLate (log: FastifyBaseLogger, outcome: Outcome | null): void {
  log.warn(`idempotency: the ${nameOf(outcome)} came too late and changed nothing, another attempt owns the key`)
}

/** How the log calls an outcome or a release. */
export function nameOf (outcome: Outcome | null): string {
  return outcome === null ? 'release' : 'completion'
}
