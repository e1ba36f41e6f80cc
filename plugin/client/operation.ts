import { RequestFailedError, RetryTimeoutError } from './errors.ts'
import { failureOf, reasonOf } from './failure.ts'
import type { RetrySettings } from './options.ts'
import { backOff, judge, readRetryAfter } from './policy.ts'
import type { Judged } from './policy.ts'

/** What the client tells beside the answer. */
export interface OperationInfo {
  /** The key under which the request was sent. `null` if it needed none: GET, HEAD, OPTIONS. */
  readonly key: string | null
  /** How often the request was sent. */
  readonly tries: number
  /** Whether the server says that this is the stored answer of an earlier try. */
  readonly replayed: boolean
}

/** An answer, with what the caller is shown of it should it be the last one. */
export interface Answer extends Judged {
  original: unknown
}

interface LastTry {
  /** How it ended, in words. */
  end: string
  cause: unknown
}

/** One operation from its first try to its last: counts the tries, knows the time, and decides how it goes on. */
export class Operation {
  readonly key: string | null
  readonly #settings: RetrySettings
  readonly #end: number
  tries = 0
  replayed = false
  #outcomeUnknown = false
  #last: LastTry | null = null

  constructor (key: string | null, settings: RetrySettings) {
    this.key = key
    this.#settings = settings
    this.#end = performance.now() + settings.totalTimeout
  }

  /**
   * Begins a try, and tells how many milliseconds it has.
   * @throws {RetryTimeoutError} if none are left, because the wait took longer than it should have
   */
  begin (): number {
    const left = Math.min(this.#settings.tryTimeout, this.#end - performance.now())
    if (left <= 0 && this.#last !== null) throw this.#timeout(this.#last)
    this.tries++
    return Math.max(1, Math.ceil(left))
  }

  /** The request was sent once more within a try, and may have been carried out the first time already. */
  sentAgain (): void {
    this.tries++
    this.#outcomeUnknown = true
  }

  /**
   * Milliseconds to wait before the next try; `null` if the answer is final.
   * @throws {RetryTimeoutError} if the next try would come too late
   */
  answered (answer: Answer): number | null {
    const { status, header, original } = answer
    const verdict = judge(answer)
    if (verdict === 'final') {
      this.replayed = header('idempotent-replayed') === 'true'
      return null
    }
    if (verdict === 'unsettled') this.#outcomeUnknown = true
    const asked = readRetryAfter(header('retry-after'), header('date'))
    const own = backOff(this.tries, this.#settings)
    // Spread out too: the same second was named to everybody. What asks for less than the back-off does not end it.
    const wait = asked === null ? own : Math.max(own, asked + backOff(1, this.#settings))
    return this.#inTime(wait, { end: `was answered with status ${status}`, cause: original })
  }

  /**
   * Milliseconds to wait before the next try, after one that got no answer. It may have been carried out all the same.
   * @param mayHaveLeft whether the request may have been sent, where more is known than the error says
   * @throws {RequestFailedError} if no try can succeed
   * @throws {RetryTimeoutError} if the next try would come too late
   */
  failed (error: unknown, mayHaveLeft?: boolean): number {
    const failure = failureOf(error)
    if (failure === 'passing' || (mayHaveLeft ?? failure === 'unknown')) this.#outcomeUnknown = true
    if (failure !== 'passing') {
      const { key, tries } = this
      const message = `Given up after ${this.#triesInWords()}, since no other can succeed: ${reasonOf(error)}`
      throw new RequestFailedError(message, { key, tries, outcomeUnknown: this.#outcomeUnknown, cause: error })
    }
    return this.#inTime(backOff(this.tries, this.#settings), { end: 'got no answer', cause: error })
  }

  #inTime (wait: number, last: LastTry): number {
    this.#last = last
    if (performance.now() + wait < this.#end) return wait
    throw this.#timeout(last)
  }

  #timeout ({ end, cause }: LastTry): RetryTimeoutError {
    const { key, tries } = this
    return new RetryTimeoutError(
      `No final answer after ${this.#triesInWords()}, and no time for another within ${this.#settings.totalTimeout} ms: the last one ${end}`,
      { key, tries, outcomeUnknown: this.#outcomeUnknown, cause })
  }

  #triesInWords (): string {
    return `${this.tries} ${this.tries === 1 ? 'try' : 'tries'}`
  }
}
