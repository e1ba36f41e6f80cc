import type { Subject } from '../observe/channels.ts'
import type { ReplayFacts } from '../observe/events.ts'
import { notReplayable } from '../refusals.ts'
import type { KeptResponse, Outcome } from '../store/store.ts'
import type { Engine } from './engine.ts'

/**
 * The response that a duplicate gets from an outcome. Counts it as a replay, or as a conflict if it throws.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_NOT_REPLAYABLE` if the response was not kept
 */
export function keptResponseOf (
  { events }: Engine, subject: Subject, { statusCode, response }: Outcome, facts: ReplayFacts
): KeptResponse {
  if (response === null) {
    events.conflicted(subject, facts.attempt, facts.since)
    throw notReplayable(statusCode)
  }
  events.replayed(subject, statusCode, facts)
  return response
}
