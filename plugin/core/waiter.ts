import type { Acquired, Contender } from './engine.ts'

/**
 * A contender for a key that has an owner. While it is held it costs a timer and a listener on its client's connection.
 */
export class Waiter {
  readonly contender: Contender
  /** `performance.now()` when it first wanted the key. */
  readonly startedAt: number
  /** `performance.now()` at which it is rejected. */
  heldUntil = 0
  #resolve!: (acquired: Acquired | 'bypass' | Promise<Acquired>) => void
  #reject!: (error: unknown) => void
  #timer: NodeJS.Timeout | null = null
  #stopListening: (() => void) | null = null
  /** `performance.now()` since when it waits for the owner's answer; NaN before. */
  #waitsSince = NaN

  constructor (contender: Contender, startedAt: number) {
    this.contender = contender
    this.startedAt = startedAt
    // A promise, so that contenders which get their result in one turn cannot disturb each other.
    new Promise<Acquired | 'bypass'>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    }).then((acquired) => { contender.acquired(acquired) }, (error: unknown) => { contender.refused(error) })
  }

  get isHeld (): boolean {
    return this.#timer !== null
  }

  /** It waits for the owner's answer. A waiter that is held may also be waiting to learn whether it is allowed to. */
  get waitsForOwner (): boolean {
    return !Number.isNaN(this.#waitsSince)
  }

  /**
   * @param until `performance.now()` at which it is rejected
   * @param waitsForOwner whether it waits for the owner's answer, and is counted as one that does
   * @param reject called at `until`, or when its client leaves
   */
  hold (until: number, waitsForOwner: boolean, reject: () => void): void {
    const { engine, client } = this.contender
    if (waitsForOwner && !this.waitsForOwner) {
      this.#waitsSince = performance.now()
      engine.events.waitBegan()
    }
    if (this.isHeld && until === this.heldUntil) return
    if (!this.isHeld) {
      engine.waiting++
      this.#stopListening = client?.onLeft(reject) ?? null
    }
    this.heldUntil = until
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(reject, Math.ceil(until - performance.now()))
  }

  resolve (acquired: Acquired | 'bypass' | Promise<Acquired>): void {
    this.#letGo()
    this.#resolve(acquired)
  }

  reject (error: unknown): void {
    this.#letGo()
    this.#reject(error)
  }

  #letGo (): void {
    const { engine, subject } = this.contender
    if (this.#timer !== null) {
      clearTimeout(this.#timer)
      engine.waiting--
    }
    this.#stopListening?.()
    if (this.waitsForOwner) engine.events.waitEnded(subject, this.#waitsSince)
  }
}
