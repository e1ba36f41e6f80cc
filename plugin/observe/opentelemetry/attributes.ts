import type { Attributes } from '@opentelemetry/api'
import type { IdempotencyEvents } from '../channels.ts'

export type EventName = keyof IdempotencyEvents
/** Any event, or that of a name. */
export type IdempotencyEventOf<N extends EventName = EventName> = IdempotencyEvents[N]

/** What events are called on a span, as OpenTelemetry writes names. */
export const SPAN_EVENTS: Record<EventName, string> = {
  claimed: 'idempotency.claimed',
  takenOver: 'idempotency.taken_over',
  replayed: 'idempotency.replayed',
  conflicted: 'idempotency.conflicted',
  mismatched: 'idempotency.mismatched',
  waited: 'idempotency.waited',
  completed: 'idempotency.completed',
  released: 'idempotency.released',
  leaseLost: 'idempotency.lease_lost',
  storeFailed: 'idempotency.store_failed'
}

/** Which events say whether a request is answered with a kept outcome. */
const ANSWERS: Partial<Record<EventName, boolean>> = {
  claimed: false,
  takenOver: false,
  replayed: true,
  conflicted: false,
  mismatched: false
}

/** Whose key and which attempt: of spans and of their events. */
export function subjectAttributes ({ keyHash, attempt, scope }: IdempotencyEventOf, recordScope: boolean): Attributes {
  return {
    'idempotency.key_hash': keyHash,
    ...(attempt !== null && { 'idempotency.attempt': attempt }),
    ...(recordScope && { 'idempotency.scope': scope })
  }
}

/** What else an event tells of its span. */
export function answerAttributes (name: EventName): Attributes {
  const replayed = ANSWERS[name]
  return replayed === undefined ? {} : { 'idempotency.replayed': replayed }
}

/** What else an event tells of itself. Of an error its kind only: its message is the log's, and nobody knows what is in it. */
export function detailAttributes (event: IdempotencyEventOf): Attributes {
  return {
    'idempotency.duration_ms': event.duration,
    ...('statusCode' in event && event.statusCode !== null && { 'http.response.status_code': event.statusCode }),
    ...('recalled' in event && { 'idempotency.recalled': event.recalled }),
    ...('operation' in event && {
      'idempotency.operation': event.operation,
      'error.type': event.error instanceof Error ? event.error.name : typeof event.error
    })
  }
}
