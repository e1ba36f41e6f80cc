import { RequestFailedError, RetryTimeoutError } from './errors.ts'
import { failureOf, reasonOf } from './failure.ts'
import type { RetrySettings } from './options.ts'
import { backOff, judge, readRetryAfter } from './policy.ts'
import type { Judged } from './policy.ts'

/** What the client reports in addition to the answer. */
export interface OperationInfo {
  /** The key that the request was sent with. `null` if it needed none: GET, HEAD, OPTIONS. */
  readonly key: string | null
  /** How often the request was sent. */
  readonly tries: number
  /** Whether this is the stored answer of an earlier try, as the server says. */
  readonly replayed: boolean
}

/** An answer, with what the caller gets as the error's `cause` if this is the last answer. */
export interface Answer extends Judged {
  original: unknown
}

interface LastTry {
  /** How it ended, for the error's message. */
  end: string
  cause: unknown
}

/** One operation from its first try to its last. Counts the tries, measures the time, and decides what comes next. */
export class Operation {
  readonly key: string | null
  readonly #settings: RetrySettings
  readonly #endsAt: number
  tries = 0
  replayed = false
  #outcomeUnknown = false
  #last: LastTry | null = null

  constructor (key: string | null, settings: RetrySettings) {
    this.key = key
    this.#settings = settings
    this.#endsAt = performance.now() + settings.totalTimeout
  }

  /**
   * Begins a try.
   * @returns how many milliseconds the try has
   * @throws {RetryTimeoutError} if no time is left, because the wait took longer than planned
   */
  begin (): number {
    const left = Math.min(this.#settings.tryTimeout, this.#endsAt - performance.now())
    if (left <= 0 && this.#last !== null) throw this.#timeout(this.#last)
    this.tries++
    return Math.max(1, Math.ceil(left))
  }

  /** Notes that the request was sent a second time within a try. The first time may have carried it out already. */
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
    if (verdict === 'uncertain') this.#outcomeUnknown = true
    const asked = readRetryAfter(header('retry-after'), header('date'))
    const own = backOff(this.tries, this.#settings)
    // The server told all clients the same second, so each client adds a random time. A `Retry-After` below the
    // back-off does not shorten the back-off.
    const wait = asked === null ? own : Math.max(own, asked + backOff(1, this.#settings))
    return this.#inTime(wait, { end: `was answered with status ${status}`, cause: original })
  }

  /**
   * Milliseconds to wait before the next try, after a try that got no answer. The server may have carried it out all
   * the same.
   * @param mayHaveLeft whether the request may have been sent, if the caller knows more than the error says
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
    if (performance.now() + wait < this.#endsAt) return wait
    throw this.#timeout(last)
  }

  #timeout ({ end, cause }: LastTry): RetryTimeoutError {
    const { key, tries } = this
    const message = `No final answer after ${this.#triesInWords()}, and no time for another within ` +
      `${this.#settings.totalTimeout} ms: the last one ${end}`
    return new RetryTimeoutError(message, { key, tries, outcomeUnknown: this.#outcomeUnknown, cause })
  }

  #triesInWords (): string {
    return `${this.tries} ${this.tries === 1 ? 'try' : 'tries'}`
  }
}
