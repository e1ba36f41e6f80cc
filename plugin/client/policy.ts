import type { RetrySettings } from './options.ts'

/**
 * Bytes: up to this size the client waits for the complete body of an answer. If the connection breaks before that, it
 * tries again.
 */
export const MAX_GATHERED = 1_048_576

/**
 * Status codes that mean "not now", from a service and from a proxy. Those from 520 on are Cloudflare's, for a server
 * that it cannot reach.
 */
const RETRIED = new Set([425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530])

/**
 * Status codes that may come from the service or from a proxy before it: if the connection to the service breaks,
 * lighttpd answers with 500 and HAProxy with 408.
 */
const AMBIGUOUS = new Set([408, 500])

/**
 * - `final`: the answer is for the caller.
 * - `refused`: the client tries again; nothing ran.
 * - `uncertain`: the client tries again; something may have run, or may still be running.
 */
export type Verdict = 'final' | 'refused' | 'uncertain'

/** The parts of an answer that the verdict depends on. */
export interface Judged {
  status: number
  header (name: string): string | null
  /** `null` if the body is too large to be read. */
  body (): string | null
}

/** Whether an answer with this status may be followed by another try. */
function isCandidate (status: number): boolean {
  return status === 409 || status >= 500 || RETRIED.has(status) || AMBIGUOUS.has(status)
}

/**
 * Whether the client waits for the complete body, because it belongs to the outcome of an operation or the verdict
 * needs it. The client does not wait for an event stream, which may never end.
 */
export function isGathered (status: number, key: string | null, contentType: string | null): boolean {
  return isCandidate(status) || (key !== null && !/^text\/event-stream\b/i.test(contentType ?? ''))
}

/** Decides whether an answer is final. */
export function judge ({ status, header, body }: Judged): Verdict {
  if (!isCandidate(status)) return 'final'
  // This is the stored outcome of the key, and every further try would get the same.
  if (header('idempotent-replayed') === 'true') return 'final'
  const { code, retryable } = readProblem(body())
  // The server itself says that a retry cannot succeed.
  if (retryable === false) return 'final'
  const isRetryable = retryable === true || code === 'FST_IDEMPOTENCY_IN_PROGRESS'
  if (!isRetryable && !isNotNow(status, header('content-type'))) return 'final'
  // By definition, a server that answers with one of these has not processed the request.
  if (status === 425 || status === 429) return 'refused'
  return code === 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' ? 'refused' : 'uncertain'
}

/** Services describe a failure in JSON or text. Proxies send a page of HTML, or no body. */
function isNotNow (status: number, contentType: string | null): boolean {
  if (RETRIED.has(status)) return true
  return AMBIGUOUS.has(status) && !/^(text\/plain|[^;]*[/+]json)\s*(;|$)/i.test(contentType ?? '')
}

/** The members of a problem document (RFC 9457) that the verdict depends on. None if the body is something else. */
function readProblem (body: string | null): { code?: unknown, retryable?: unknown } {
  try {
    const problem: unknown = JSON.parse(body ?? 'null')
    return typeof problem === 'object' && problem !== null ? problem : {}
  } catch {
    return {}
  }
}

/**
 * Milliseconds to wait before the next try, exponential with full jitter: a random time up to a limit that doubles with
 * each try, so that clients that met the same failure do not all come back at the same time.
 */
export function backOff (tries: number, settings: Pick<RetrySettings, 'firstDelay' | 'maxDelay'>): number {
  const { firstDelay, maxDelay } = settings
  return Math.random() * Math.min(maxDelay, firstDelay * 2 ** (tries - 1))
}

/**
 * Milliseconds that a `Retry-After` asks for, which contains seconds or a date. `null` if it is missing or malformed.
 * @param date the answer's own `Date`, the time on the server's clock: the clock of this machine may be wrong
 */
export function readRetryAfter (value: string | null, date: string | null): number | null {
  if (value === null) return null
  if (/^\d+$/.test(value)) return Number(value) * 1_000
  const until = parseDate(value)
  return until === null ? null : Math.max(0, until - (parseDate(date) ?? Date.now()))
}

/** All three formats of an HTTP date begin with the name of a day. `Date.parse` alone would accept "1.5" too. */
function parseDate (value: string | null): number | null {
  const time = value !== null && /^[A-Z][a-z]{2}/.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(time) ? null : time
}
