/** What clients and error handlers rely on, for each refusal. The sentences are in refusals.ts. */
const PROBLEMS = {
  FST_IDEMPOTENCY_KEY_MISSING: { statusCode: 400, title: 'Idempotency key missing', retryable: false },
  FST_IDEMPOTENCY_KEY_INVALID: { statusCode: 400, title: 'Idempotency key invalid', retryable: false },
  FST_IDEMPOTENCY_KEY_REUSED: {
    statusCode: 422, title: 'Idempotency key reused for another request', retryable: false
  },
  FST_IDEMPOTENCY_IN_PROGRESS: {
    statusCode: 409, title: 'Request with this idempotency key in progress', retryable: true
  },
  FST_IDEMPOTENCY_NOT_REPLAYABLE: { statusCode: 409, title: 'Response was not kept', retryable: false },
  FST_IDEMPOTENCY_RECORD_UNREADABLE: { statusCode: 409, title: 'Record cannot be read', retryable: false },
  FST_IDEMPOTENCY_BODY_UNREADABLE: { statusCode: 415, title: 'Request body cannot be compared', retryable: false },
  FST_IDEMPOTENCY_STORE_UNAVAILABLE: { statusCode: 503, title: 'Idempotency store unavailable', retryable: true },
  FST_IDEMPOTENCY_NOT_COMMITTED: { statusCode: 500, title: 'Answer was not committed', retryable: true },
  FST_IDEMPOTENCY_JOURNAL_INCONSISTENT: {
    statusCode: 500, title: 'Committed answer cannot be found', retryable: false
  },
  FST_IDEMPOTENCY_SCOPE_INVALID: { statusCode: 500, title: 'Idempotency scope invalid', retryable: false },
  FST_IDEMPOTENCY_OPTION_FAILED: { statusCode: 500, title: 'Idempotency option failed', retryable: false },
  FST_IDEMPOTENCY_ROUTE_UNSEEN: {
    statusCode: 500, title: 'Route declared before the idempotency plugin', retryable: false
  }
} as const

export type IdempotencyErrorCode = keyof typeof PROBLEMS

/** Mistakes of the app. Their detail is for its developers. Every other detail tells the client what to do. */
const MISTAKES = new Set<IdempotencyErrorCode>([
  'FST_IDEMPOTENCY_SCOPE_INVALID', 'FST_IDEMPOTENCY_OPTION_FAILED', 'FST_IDEMPOTENCY_ROUTE_UNSEEN'
])

/**
 * A request that the plugin answers itself, as a problem (RFC 9457) or, with `errors: 'error-handler'`, as an error
 * that the app's own handler gets.
 */
export class IdempotencyError extends Error {
  override name = 'IdempotencyError'
  readonly code: IdempotencyErrorCode
  readonly statusCode: number
  /** As `statusCode`. By it and `expose` frameworks that know the errors of http-errors (Nest, Koa) know these. */
  readonly status: number
  /** Whether the message may be shown to the client. */
  readonly expose: boolean
  readonly title: string
  /** Whether the same request, sent again as it is, can succeed. */
  readonly retryable: boolean
  /** The status of the response that was not kept, for `FST_IDEMPOTENCY_NOT_REPLAYABLE`. */
  readonly originalStatus: number | undefined

  constructor (code: IdempotencyErrorCode, detail: string, about: { cause?: unknown, originalStatus?: number } = {}) {
    super(detail, { cause: about.cause })
    const { statusCode, title, retryable } = PROBLEMS[code]
    this.code = code
    this.statusCode = statusCode
    this.status = statusCode
    this.expose = !MISTAKES.has(code)
    this.title = title
    this.retryable = retryable
    this.originalStatus = about.originalStatus
  }
}

export { IdempotencyOptionError } from './shared/option-error.ts'

/** Why a run's `signal` aborted: the key is not, or may no longer be, the run's own. */
export class LeaseLostError extends Error {
  override name = 'LeaseLostError'
  readonly code = 'FST_IDEMPOTENCY_LEASE_LOST'
}

/** The store did not answer within `storeTimeout`. What it was asked may still have happened. */
export class StoreTimeoutError extends Error {
  override name = 'StoreTimeoutError'
  readonly code = 'FST_IDEMPOTENCY_STORE_TIMEOUT'
}
