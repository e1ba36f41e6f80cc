import type { Attributes } from '@opentelemetry/api'
import type { IdempotencyEvents } from '../channels.ts'

export type EventName = keyof IdempotencyEvents
/** Any event, or the event with this name. */
export type IdempotencyEventOf<N extends EventName = EventName> = IdempotencyEvents[N]

/** The names of the span events, in OpenTelemetry's spelling. */
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

/** The events that decide whether a request is answered with a kept outcome. */
const ANSWERS: Partial<Record<EventName, boolean>> = {
  claimed: false,
  takenOver: false,
  replayed: true,
  conflicted: false,
  mismatched: false
}

/** The key and the attempt, for spans and for their events. */
export function subjectAttributes ({ keyHash, attempt, scope }: IdempotencyEventOf, recordScope: boolean): Attributes {
  return {
    'idempotency.key_hash': keyHash,
    ...(attempt !== null && { 'idempotency.attempt': attempt }),
    ...(recordScope && { 'idempotency.scope': scope })
  }
}

/** Further attributes that an event sets on its span. */
export function answerAttributes (name: EventName): Attributes {
  const replayed = ANSWERS[name]
  return replayed === undefined ? {} : { 'idempotency.replayed': replayed }
}

/**
 * Further attributes of the event itself. An error appears only with its type: its message may contain anything, and so
 * only the log gets it.
 */
export function detailAttributes (event: IdempotencyEventOf): Attributes {
  return {
    'idempotency.duration_ms': event.duration,
    ...('statusCode' in event && event.statusCode !== null && { 'http.response.status_code': event.statusCode }),
    ...('recalled' in event && { 'idempotency.recalled': event.recalled, 'idempotency.cached': event.cached }),
    ...('operation' in event && {
      'idempotency.operation': event.operation,
      'error.type': event.error instanceof Error ? event.error.name : typeof event.error
    })
  }
}
