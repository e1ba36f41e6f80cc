import type { RetrySettings } from './options.ts'

/** Up to this size the client waits for an answer's body: a connection that breaks before it is complete means another try. */
export const MAX_GATHERED = 1_048_576

/** Answers that say "not now", whoever gives them. From 520 on they are Cloudflare's, of a server that it lost. */
const RETRIED = new Set([425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530])

/** Those of a service, or of a proxy before it: lighttpd says 500 of a service that it lost, HAProxy 408. */
const ANYBODYS = new Set([408, 500])

/**
 * - `final`: the caller's.
 * - `refused`: to be tried again; nothing ran.
 * - `unsettled`: to be tried again; something may have run, or still run.
 */
export type Verdict = 'final' | 'refused' | 'unsettled'

/** An answer as it is judged. */
export interface Judged {
  status: number
  header (name: string): string | null
  /** `null` if it was too large to be read. */
  body (): string | null
}

/** Whether an answer with this status may be followed by another try. */
function isCandidate (status: number): boolean {
  return status === 409 || status >= 500 || RETRIED.has(status) || ANYBODYS.has(status)
}

/**
 * Whether the body is waited for: it belongs to the outcome of an operation, or is needed for the verdict. An event
 * stream may never end.
 */
export function isGathered (status: number, key: string | null, contentType: string | null): boolean {
  return isCandidate(status) || (key !== null && !/^text\/event-stream\b/i.test(contentType ?? ''))
}

/** What to make of an answer. */
export function judge ({ status, header, body }: Judged): Verdict {
  if (!isCandidate(status)) return 'final'
  // The key's outcome, whatever it is: that of all tries.
  if (header('idempotent-replayed') === 'true') return 'final'
  const { code, retryable } = readProblem(body())
  // A server that says it need not be guessed at.
  if (retryable === false) return 'final'
  const isRetryable = retryable === true || code === 'FST_IDEMPOTENCY_IN_PROGRESS'
  if (!isRetryable && !isNotNow(status, header('content-type'))) return 'final'
  // Both mean by definition that the request was not processed.
  if (status === 425 || status === 429) return 'refused'
  return code === 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' ? 'refused' : 'unsettled'
}

/** Services say of a failure in JSON or text what it is; proxies have a page of HTML for it, or nothing. */
function isNotNow (status: number, contentType: string | null): boolean {
  if (RETRIED.has(status)) return true
  return ANYBODYS.has(status) && !/^(text\/plain|[^;]*[/+]json)\s*(;|$)/i.test(contentType ?? '')
}

/** The members of a problem document (RFC 9457) that matter here; none if it is something else. */
function readProblem (body: string | null): { code?: unknown, retryable?: unknown } {
  try {
    const problem: unknown = JSON.parse(body ?? 'null')
    return typeof problem === 'object' && problem !== null ? problem : {}
  } catch {
    return {}
  }
}

/**
 * Milliseconds to wait before the next try, exponential with full jitter: anything up to a bound that doubles with each
 * try, so that clients whom one failure has hit do not come back together.
 */
export function backOff (tries: number, { firstDelay, maxDelay }: Pick<RetrySettings, 'firstDelay' | 'maxDelay'>): number {
  return Math.random() * Math.min(maxDelay, firstDelay * 2 ** (tries - 1))
}

/**
 * Milliseconds that a `Retry-After` asks for, given in seconds or as a date; `null` if it is missing or neither.
 * `date`, the answer's own `Date`, is what the server's clock showed: this machine's may be wrong.
 */
export function readRetryAfter (value: string | null, date: string | null): number | null {
  if (value === null) return null
  if (/^\d+$/.test(value)) return Number(value) * 1_000
  const until = parseDate(value)
  return until === null ? null : Math.max(0, until - (parseDate(date) ?? Date.now()))
}

/** All three forms of an HTTP date begin with a day's name. `Date.parse` alone would take "1.5" for one, too. */
function parseDate (value: string | null): number | null {
  const time = value !== null && /^[A-Z][a-z]{2}/.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(time) ? null : time
}
