import type { FastifyBaseLogger } from 'fastify'
import type { Deadline } from './store-timeout.ts'
import { factsOf } from '../shared/error-facts.ts'
import { StoreTimeoutError } from '../errors.ts'
import type { Ownership } from './ownership.ts'
import { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from '../store/store.ts'
import type { Claim, Outcome, OwnedClaim, Store } from '../store/store.ts'

const FIRST_PAUSE = 50
const LONGEST_PAUSE = 250
/** How many are tried, one after the other, before the store counts as one that takes nothing. */
const PROBES = 4
/** How many are tried side by side once it takes something. */
const AT_ONCE = 64
/** How often a store that renews the lease may refuse the outcome before a smaller one takes its place. */
const REFUSALS = 2

/** What an owner that has ended has yet to tell the store. */
export interface Ending {
  owner: Ownership
  /** As the claim was, but for the fingerprint of an outcome that another request committed. */
  owned: OwnedClaim
  /** `null`: the key is to be released. */
  outcome: Outcome | null
  /** Called once the store has it, with whether the key was still the owner's. Given up, it is so no more. */
  stored: (owned: boolean) => void
}

interface Task {
  /** Resolves to whether there is nothing left to do. Rejects where the store takes nothing now. */
  attempt: () => Promise<boolean>
  /** Says in the log that it was left undone. */
  giveUp: () => void
  /** `performance.now()` after which it is given up. */
  until: number
}

/**
 * What the store has not taken: outcomes and releases, which are kept and sent until it has them, and claims to be
 * undone. They are sent in rounds, one at first and the others once one came through: as soon as the store can be reached
 * again, and every quarter of a second at the latest. Where the store refuses an outcome its owner's lease is renewed,
 * so that nobody takes over a key whose outcome is here. They are as many as handlers ran when the store went away, since nothing new
 * is claimed without it.
 */
export class Pending {
  readonly #store: Store
  readonly #deadline: Deadline
  readonly #period: () => number
  readonly #tasks = new Set<Task>()
  readonly #endings = new Map<string, Ending>()
  readonly #stopListening: () => void
  #pause = FIRST_PAUSE
  #timer: NodeJS.Timeout | null = null
  #round: Promise<void> | null = null

  /** @param period milliseconds: how soon a lease that is about to run out has to be renewed */
  constructor (store: Store, deadline: Deadline, period: () => number) {
    this.#store = store
    this.#deadline = deadline
    this.#period = period
    this.#stopListening = store.onReady?.(() => { this.#now() }) ?? (() => {})
  }

  get size (): number {
    return this.#tasks.size
  }

  /** What is known here of a key, and not yet in the store: duplicates are answered from it. */
  outcomeOf (id: string): Ending & { outcome: Outcome } | undefined {
    const ending = this.#endings.get(id)
    return ending === undefined || ending.outcome === null ? undefined : ending as Ending & { outcome: Outcome }
  }

  /**
   * Keeps an outcome or a release until the store has it, at most for as long as the store would keep it.
   * @param error what the store answered to the first try
   */
  keep (ending: Ending, error: unknown): void {
    const { owner: { id, log, settings }, outcome } = ending
    this.#endings.set(id, ending)
    let refusals = error instanceof StoreRefusedError ? 1 : 0
    let toSend = outcome
    this.#add({
      attempt: async () => {
        try {
          return this.#settled(ending, await this.#deadline.race(this.#send(ending, toSend)))
        } catch (error) {
          if (error instanceof RecordUnreadableError) return this.#dropped(ending)
          if (outcome === null || error instanceof StoreUnreachableError || error instanceof StoreTimeoutError) throw error
          await this.#renew(ending)
          // The store is well, then: it is this outcome that it does not take, for its size or for want of memory.
          if (++refusals === REFUSALS && outcome.response !== null) {
            toSend = { statusCode: outcome.statusCode, response: null }
            log.error({ err: factsOf(error) }, 'idempotency: the store has no room for the response: the key is settled without it')
          }
          return false
        }
      },
      giveUp: () => {
        log.error(`idempotency: the ${whatOf(ending)} is not in the store: once the lease is over a retry may run, with a higher attempt`)
        this.#forget(ending)
        ending.stored(false)
      },
      until: performance.now() + settings.retention
    })
  }

  /** Undoes a claim that let nothing run, once the store can be asked. */
  withdraw (id: string, claim: Claim, log: FastifyBaseLogger): void {
    this.#add({
      attempt: async () => {
        await this.#deadline.race(this.#store.withdraw(id, claim)).catch((error: unknown) => {
          if (!(error instanceof RecordUnreadableError)) throw error
        })
        return true
      },
      giveUp: () => { log.warn('idempotency: a claim that let nothing run could not be undone: the next run is told of an earlier attempt') },
      until: performance.now() + claim.lease
    })
    this.#now()
  }

  #send ({ owner, owned }: Ending, outcome: Outcome | null): Promise<boolean> {
    return outcome === null ? this.#store.release(owner.id, owned) : this.#store.complete(owner.id, owned, outcome)
  }

  async #renew ({ owner, owned }: Ending): Promise<void> {
    // Whether the key is another's by now is what the next try to complete it tells.
    await this.#deadline.race(this.#store.renew(owner.id, owned))
  }

  #settled (ending: Ending, owned: boolean): true {
    const { log } = ending.owner
    const what = whatOf(ending)
    this.#forget(ending)
    if (owned) log.info(`idempotency: the ${what} that had failed is stored now`)
    else log.warn(`idempotency: the ${what} came too late and changed nothing, another attempt owns the key`)
    ending.stored(owned)
    return true
  }

  /** Another version of this package has the key, and answers for it: nothing of this one's can be stored there. */
  #dropped (ending: Ending): true {
    ending.owner.log.error(`idempotency: the ${whatOf(ending)} is not in the store, since the key has a record that this version cannot read`)
    this.#forget(ending)
    ending.stored(false)
    return true
  }

  #forget (ending: Ending): void {
    if (this.#endings.get(ending.owner.id) === ending) this.#endings.delete(ending.owner.id)
  }

  #add (task: Task): void {
    this.#tasks.add(task)
    if (this.#timer === null && this.#round === null) this.#schedule(this.#pause = FIRST_PAUSE)
  }

  #schedule (pause: number): void {
    this.#timer = setTimeout(() => { this.#now() }, Math.min(pause, this.#period()))
    this.#timer.unref()
  }

  #now (): void {
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
    let rest = 0
    let took = false
    while (!took && rest < Math.min(PROBES, tasks.length)) took = await this.#try(tasks[rest++] as Task)
    if (!took) return
    this.#pause = FIRST_PAUSE
    for (; rest < tasks.length; rest += AT_ONCE) {
      await Promise.all(tasks.slice(rest, rest + AT_ONCE).map(task => this.#try(task)))
    }
  }

  /** Whether the store took something. */
  async #try (task: Task): Promise<boolean> {
    try {
      if (await task.attempt()) this.#tasks.delete(task)
      return true
    } catch {
      // The first failure was logged, and the next ones are of the same store. Others come first in the next round.
      this.#tasks.delete(task)
      if (performance.now() < task.until) this.#tasks.add(task)
      else task.giveUp()
      return false
    }
  }

  /** One last try for each, all at once. What fails now is lost with this process, and said in the log. */
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

function whatOf ({ outcome }: Ending): string {
  return outcome === null ? 'release' : 'completion'
}
