/**
 * No try got a final answer before the total time was up. The operation is not lost: sent again later with the same
 * `key` and the same body, it gets its answer and still runs once.
 */
export class RetryTimeoutError extends Error {
  override name = 'RetryTimeoutError'
  readonly code = 'FST_IDEMPOTENCY_RETRY_TIMEOUT'
  /** How often the request was sent. */
  readonly tries: number
  /**
   * Whether one of the tries may have been carried out, or still be at work. `false`: each of them was refused before
   * anything ran.
   */
  readonly outcomeUnknown: boolean
  // Behind a getter, so that who logs the error with all its members does not log the key.
  readonly #key: string | null

  constructor (message: string, { key, tries, outcomeUnknown, cause }: Pick<RetryTimeoutError, 'key' | 'tries' | 'outcomeUnknown'> & { cause: unknown }) {
    super(message, { cause })
    this.#key = key
    this.tries = tries
    this.outcomeUnknown = outcomeUnknown
  }

  /** What to go on with. `null` if the request needed no key: GET, HEAD, OPTIONS. */
  get key (): string | null {
    return this.#key
  }
}
