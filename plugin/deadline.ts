import { StoreTimeoutError } from './errors.ts'

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
  reject: (error: Error) => void
}

/**
 * Gives each call of the store `milliseconds` to answer. All share one timer, since the calls run out in the order in
 * which they began: a timer a call would be the dearest part of a replay.
 */
export class Deadline {
  readonly #milliseconds: number
  readonly #waiting = new Set<Waiting>()
  /** How many calls failed or took too long so far. */
  failures = 0
  #timer: NodeJS.Timeout | null = null

  constructor (milliseconds: number) {
    this.#milliseconds = milliseconds
  }

  /** @throws {StoreTimeoutError} if `call` takes longer. It goes on nevertheless. */
  race<T> (call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { until: performance.now() + this.#milliseconds, reject }
      this.#waiting.add(waiting)
      this.#timer ??= setTimeout(this.#expire, this.#milliseconds)
      call.then((value) => {
        this.#waiting.delete(waiting)
        resolve(value)
      }, (error: Error) => {
        // Counted once, if it comes after its time.
        if (this.#waiting.delete(waiting)) this.failures++
        reject(error)
      })
    })
  }

  #expire = (): void => {
    this.#timer = null
    const now = performance.now()
    for (const waiting of this.#waiting) {
      const left = waiting.until - now
      if (left > 0) {
        this.#timer = setTimeout(this.#expire, Math.ceil(left))
        return
      }
      this.#waiting.delete(waiting)
      this.failures++
      waiting.reject(new StoreTimeoutError(`The idempotency store did not answer within ${this.#milliseconds} ms`))
    }
  }

  /** The timer may outlast the calls; it must not keep a closed app alive. */
  close (): void {
    if (this.#waiting.size === 0 && this.#timer !== null) clearTimeout(this.#timer)
  }
}
