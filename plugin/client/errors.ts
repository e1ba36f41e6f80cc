type OperationEnd = Pick<RequestFailedError, 'key' | 'tries' | 'outcomeUnknown'> & { cause: unknown }

/** The operation has no final answer, and is not tried again: another try would not get one either. */
export class RequestFailedError extends Error {
  override name = 'RequestFailedError'
  readonly code: string = 'FST_IDEMPOTENCY_REQUEST_FAILED'
  /** How often the request was sent, or was to be sent. */
  readonly tries: number
  /**
   * Whether one of the tries may have been carried out, or still be at work. `false`: each of them failed before it was
   * sent, or was refused before anything ran.
   */
  readonly outcomeUnknown: boolean
  // Behind a getter, so that who logs the error with all its members does not log the key.
  readonly #key: string | null

  constructor (message: string, { key, tries, outcomeUnknown, cause }: OperationEnd) {
    const outcome = outcomeUnknown ? 'The outcome is unknown: go on with the same key' : 'Nothing was carried out'
    super(`${message}. ${outcome}`, { cause })
    this.#key = key
    this.tries = tries
    this.outcomeUnknown = outcomeUnknown
  }

  /** What to go on with. `null` if the request needed no key: GET, HEAD, OPTIONS. */
  get key (): string | null {
    return this.#key
  }
}

/**
 * No try got a final answer before the total time was up. The operation is not lost: sent again later with the same
 * `key` and the same body, it gets its answer and still runs once.
 */
export class RetryTimeoutError extends RequestFailedError {
  override name = 'RetryTimeoutError'
  override readonly code: string = 'FST_IDEMPOTENCY_RETRY_TIMEOUT'
}
