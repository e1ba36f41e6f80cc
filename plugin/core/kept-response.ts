import type { Subject } from '../observe/channels.ts'
import { notReplayable } from '../refusals.ts'
import type { KeptResponse, Outcome } from '../store/store.ts'
import type { Engine } from './engine.ts'

/** A replay, for its event. */
export interface ReplayFacts {
  attempt: number
  /** `performance.now()` from which its duration counts. */
  since: number
  /** The outcome comes from the journal. */
  recalled: boolean
}

/**
 * The response that a duplicate gets from an outcome. Counts it as a replay, or as a conflict if it throws.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_NOT_REPLAYABLE` if the response was not kept
 */
export function keptResponseOf (
  { events }: Engine, subject: Subject, { statusCode, response }: Outcome, { attempt, since, recalled }: ReplayFacts
): KeptResponse {
  if (response === null) {
    events.conflicted(subject, attempt, since)
    throw notReplayable(statusCode)
  }
  events.replayed(subject, attempt, since, { statusCode, recalled })
  return response
}
