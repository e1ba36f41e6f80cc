type OperationEnd = Pick<RequestFailedError, 'key' | 'tries' | 'outcomeUnknown'> & { cause: unknown }

/** The operation has no final answer, and is not tried again, since another try would not get one either. */
export class RequestFailedError extends Error {
  override name = 'RequestFailedError'
  readonly code: string = 'FST_IDEMPOTENCY_REQUEST_FAILED'
  /** The number of tries, including those in which the request could not be sent. */
  readonly tries: number
  /**
   * Whether a try may have been carried out, or may still be running. `false`: each try failed before it was sent, or
   * the server refused it before anything ran.
   */
  readonly outcomeUnknown: boolean
  // The key is private, so that a log of the error with all its members does not contain it.
  readonly #key: string | null

  constructor (message: string, { key, tries, outcomeUnknown, cause }: OperationEnd) {
    const outcome = outcomeUnknown ? 'The outcome is unknown: go on with the same key' : 'Nothing was carried out'
    super(`${message}. ${outcome}`, { cause })
    this.#key = key
    this.tries = tries
    this.outcomeUnknown = outcomeUnknown
  }

  /** The key to continue the operation with. `null` if the request needed no key: GET, HEAD, OPTIONS. */
  get key (): string | null {
    return this.#key
  }
}

/**
 * No try got a final answer within the total time. The operation is not lost: if you send it again later with the same
 * `key` and the same body, it gets its answer and still runs only once.
 */
export class RetryTimeoutError extends RequestFailedError {
  override name = 'RetryTimeoutError'
  override readonly code: string = 'FST_IDEMPOTENCY_RETRY_TIMEOUT'
}
