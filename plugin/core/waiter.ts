import { channels, eventOf } from '../observe/channels.ts'
import type { Obtained, Pursuit } from './contender.ts'

/** Somebody who waits for a key that has an owner. Costs a timer, and a listener on its client's connection. */
export class HeldPursuit {
  readonly pursuit: Pursuit
  /** `performance.now()` when it first wanted the key. */
  readonly began: number
  readonly obtained: Promise<Obtained | 'bypass'>
  /** `performance.now()` until which it is held. */
  until = 0
  #resolve!: (obtained: Obtained | 'bypass' | Promise<Obtained>) => void
  #reject!: (error: unknown) => void
  #timer: NodeJS.Timeout | null = null
  #stopListening: (() => void) | null = null
  /** `performance.now()` since when it waits for the owner's answer; NaN before. */
  #waitsSince = NaN

  constructor (pursuit: Pursuit, began: number) {
    this.pursuit = pursuit
    this.began = began
    this.obtained = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get isHeld (): boolean {
    return this.#timer !== null
  }

  /** It waits for the owner's answer, rather than to find out whether it may. */
  get isWaiting (): boolean {
    return !Number.isNaN(this.#waitsSince)
  }

  /**
   * @param until `performance.now()` at which it is refused
   * @param waits whether it waits for the owner's answer, and is counted as one that does
   * @param refuse called then, or when its client leaves
   */
  hold (until: number, waits: boolean, refuse: () => void): void {
    const { engine, client } = this.pursuit
    if (waits && !this.isWaiting) {
      this.#waitsSince = performance.now()
      engine.counts.waited++
    }
    if (this.isHeld && until === this.until) return
    if (!this.isHeld) {
      engine.waiting++
      this.#stopListening = client?.onLeft(refuse) ?? null
    }
    this.until = until
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(refuse, Math.ceil(until - performance.now()))
  }

  resolve (obtained: Obtained | 'bypass' | Promise<Obtained>): void {
    this.#letGo()
    this.#resolve(obtained)
  }

  reject (error: unknown): void {
    this.#letGo()
    this.#reject(error)
  }

  #letGo (): void {
    const { engine, subject } = this.pursuit
    if (this.#timer !== null) {
      clearTimeout(this.#timer)
      engine.waiting--
    }
    this.#stopListening?.()
    if (this.isWaiting && channels.waited.hasSubscribers) {
      channels.waited.publish(eventOf(subject, null, this.#waitsSince))
    }
  }
}
