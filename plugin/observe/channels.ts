import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'
import type { FastifyRequest } from 'fastify'

/** What every event contains. */
export interface IdempotencyEvent {
  /** The request of the event. `null` for `app.idempotency.run`. */
  request: FastifyRequest | null
  /** Method and pattern of the route, such as `POST /orders/:id/pay`. `run` for `app.idempotency.run`. */
  route: string
  scope: string
  /** SHA-256 of scope and key, in base64url. It identifies a key without revealing it. */
  keyHash: string
  /** The attempt of the run, or of the record that was found. `null` if it is not known. */
  attempt: number | null
  /** Milliseconds. Each event says of what. */
  duration: number
}

export interface IdempotencyOutcomeEvent extends IdempotencyEvent {
  /**
   * The status of the answer. `null` for `app.idempotency.run`, and for an answer that was sent without passing through
   * the plugin.
   */
  statusCode: number | null
}

export interface IdempotencyReplayEvent extends IdempotencyOutcomeEvent {
  /** Whether the answer came from the journal, because the store had lost it or never got it. */
  recalled: boolean
  /** Whether the answer came from the memory of this process, so that the store was not asked. */
  cached: boolean
}

export interface IdempotencyStoreFailureEvent extends IdempotencyEvent {
  operation: 'claim' | 'renew' | 'complete' | 'release'
  /**
   * The name, message and code of the store's error. It has nothing else, since drivers attach to errors what they
   * sent.
   */
  error: Error
}

/** Every event, by name, with its content. */
export interface IdempotencyEvents {
  /** A first run was let through. `duration`: of the claim. */
  claimed: IdempotencyEvent
  /**
   * A later attempt was let through, after one that released the key or whose lease ran out. `duration`: of the claim.
   */
  takenOver: IdempotencyEvent
  /** Answered with a kept outcome. `duration`: of the claim, or close to 0 if `cached`. */
  replayed: IdempotencyReplayEvent
  /** Rejected: another run has the key, or its response was not kept. `duration`: of the claim. */
  conflicted: IdempotencyEvent
  /** Refused: the key belongs to another request. `duration`: of the claim. */
  mismatched: IdempotencyEvent
  /** A duplicate waited for the owner's answer. `duration`: of the wait. Another event says how it ended. */
  waited: IdempotencyEvent
  /** An outcome was stored. `duration`: of the run, from the claim until it was stored. */
  completed: IdempotencyOutcomeEvent
  /** A key was given back, because its outcome is not kept. `duration`: as for `completed`. */
  released: IdempotencyOutcomeEvent
  /** A run lost its key before it finished. `duration`: since the claim. */
  leaseLost: IdempotencyEvent
  /** The store failed, or did not answer in time. `duration`: of the call. */
  storeFailed: IdempotencyStoreFailureEvent
}

type Channels = { readonly [name in keyof IdempotencyEvents]: Channel<unknown, IdempotencyEvents[name]> }

const EVENTS = [
  'claimed', 'takenOver', 'replayed', 'conflicted', 'mismatched',
  'waited', 'completed', 'released', 'leaseLost', 'storeFailed'
] as const satisfies ReadonlyArray<keyof IdempotencyEvents>

/**
 * The channels of `node:diagnostics_channel`. Their names are `fastify-idempotency:` and the event's name. No object is
 * made for an event without subscribers. Subscribers run within the request and must not throw or block.
 */
export const channels = Object.fromEntries(EVENTS.map(
  name => [name, channel(`fastify-idempotency:${name}`)]
)) as unknown as Channels

/** Who an event is about. */
export interface Subject {
  readonly request: FastifyRequest | null
  readonly scope: string
  readonly id: string
}

/** Method and pattern, for events and messages. */
export function routeOf (request: FastifyRequest | null): string {
  return request === null ? 'run' : `${request.method} ${request.routeOptions.url ?? ''}`
}

/**
 * The event of a subject. Call it only for a channel that has subscribers.
 * @param startedAt when the measured duration began, by `performance.now()`
 */
export function eventOf ({ request, scope, id }: Subject, attempt: number | null, startedAt: number): IdempotencyEvent {
  return {
    request,
    route: routeOf(request),
    scope,
    keyHash: id,
    attempt,
    duration: performance.now() - startedAt
  }
}
