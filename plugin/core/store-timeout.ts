import { StoreTimeoutError } from '../errors.ts'
import type { Hearing } from './store-contact.ts'
import { PUNCTUAL } from '../shared/punctual.ts'
import { RecordUnreadableError } from '../store/store.ts'

/** What a call answers; what it throws at once is its answer too. Stores are other people's code. */
export function answerOf<T> (call: () => Promise<T>): Promise<T> {
  try {
    return call()
  } catch (error) {
    return rejected(error)
  }
}

async function rejected (error: unknown): Promise<never> {
  throw error
}

interface Waiting {
  until: number
  /** Its time was begun anew, since this process was busy while it ran out. */
  extended: boolean
  reject: (error: Error) => void
}

/**
 * Gives each call of the store `milliseconds` to answer. All share one timer, since the calls run out in the order in
 * which they began: a timer a call would be the most expensive part of a replay.
 */
export class Deadline {
  readonly #milliseconds: number
  readonly #hearing: Hearing
  readonly #waiting = new Set<Waiting>()
  /** How many calls failed or took too long so far. */
  failures = 0
  #timer: NodeJS.Timeout | null = null
  /** `performance.now()` at which the timer is due. */
  #due = 0

  /** @param hearing is told of every call that is answered, and of every one that is not */
  constructor (milliseconds: number, hearing: Hearing) {
    this.#milliseconds = milliseconds
    this.#hearing = hearing
  }

  /** @throws {StoreTimeoutError} if `call` takes longer. It goes on nevertheless. */
  race<T> (call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const now = performance.now()
      const waiting: Waiting = { until: now + this.#milliseconds, extended: false, reject }
      this.#waiting.add(waiting)
      if (this.#timer === null) this.#arm(this.#milliseconds, now)
      call.then((value) => {
        if (this.#waiting.delete(waiting)) this.#hearing.heard(now)
        resolve(value)
      }, (error: Error) => {
        // Counted once, if it comes after its time.
        if (this.#waiting.delete(waiting)) this.#fail(error)
        reject(error)
      })
    })
  }

  #arm (milliseconds: number, now: number): void {
    this.#due = now + milliseconds
    this.#timer = setTimeout(this.#expire, milliseconds)
  }

  #fail (error: unknown): void {
    this.failures++
    // A record that cannot be read is an answer of a store that is well.
    if (!(error instanceof RecordUnreadableError)) this.#hearing.failed()
  }

  #expire = (): void => {
    this.#timer = null
    const now = performance.now()
    // A timer that is late says that this process was busy, not that the store is: what a blocked event loop has yet to
    // send or to read is given its time once more.
    const late = now - this.#due > PUNCTUAL
    for (const waiting of this.#waiting) {
      const left = waiting.until - now
      if (left > 0) return this.#arm(Math.ceil(left), now)
      this.#waiting.delete(waiting)
      if (late && !waiting.extended) {
        // Behind those that began since, which run out before it does.
        this.#waiting.add(Object.assign(waiting, { until: now + this.#milliseconds, extended: true }))
        continue
      }
      const error = new StoreTimeoutError(`The idempotency store did not answer within ${this.#milliseconds} ms`)
      this.#fail(error)
      waiting.reject(error)
    }
  }

  /** The timer may outlast the calls; it must not keep a closed app alive. */
  close (): void {
    if (this.#waiting.size === 0 && this.#timer !== null) clearTimeout(this.#timer)
  }
}
