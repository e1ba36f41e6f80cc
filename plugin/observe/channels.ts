import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'
import type { FastifyRequest } from 'fastify'

/** What every event tells. */
export interface IdempotencyEvent {
  /** The request that it happened to; `null` for `app.idempotency.run`. */
  request: FastifyRequest | null
  /** Method and pattern of the route, such as `POST /orders/:id/pay`; `run` for `app.idempotency.run`. */
  route: string
  scope: string
  /** SHA-256 of scope and key, in base64url: tells keys apart without telling them. */
  keyHash: string
  /** Of the run, or of the record that was found; `null` where it is not known. */
  attempt: number | null
  /** Milliseconds: see each event. */
  duration: number
}

export interface IdempotencyOutcomeEvent extends IdempotencyEvent {
  /** Of the answer; `null` for `app.idempotency.run`, and of what left without passing by the plugin. */
  statusCode: number | null
}

export interface IdempotencyReplayEvent extends IdempotencyOutcomeEvent {
  /** Whether the answer came from the journal, since the store had lost it or never got it. */
  recalled: boolean
}

export interface IdempotencyStoreFailureEvent extends IdempotencyEvent {
  operation: 'claim' | 'renew' | 'complete' | 'release'
  /** Of the store's error the name, message and code: drivers hang on it what they sent. */
  error: Error
}

/** Every event, by name, with what it tells. */
export interface IdempotencyEvents {
  /** A first run was let through. `duration`: of the claim. */
  claimed: IdempotencyEvent
  /** A later attempt was let through, after one that released the key or let its lease run out. `duration`: of the claim. */
  takenOver: IdempotencyEvent
  /** Answered with a kept outcome. `duration`: of the claim. */
  replayed: IdempotencyReplayEvent
  /** Refused: another run has the key, or its response was not kept. `duration`: of the claim. */
  conflicted: IdempotencyEvent
  /** Refused: the key belongs to another request. `duration`: of the claim. */
  mismatched: IdempotencyEvent
  /** Was held for the owner's answer. `duration`: of the wait. Another event tells how it ended. */
  waited: IdempotencyEvent
  /** An outcome was stored. `duration`: of the run, from the claim until it was stored. */
  completed: IdempotencyOutcomeEvent
  /** A key was given back, since its outcome is not to be kept. `duration`: as for `completed`. */
  released: IdempotencyOutcomeEvent
  /** A run lost its key while it was at work. `duration`: since the claim. */
  leaseLost: IdempotencyEvent
  /** The store failed, or did not answer in time. `duration`: of the call. */
  storeFailed: IdempotencyStoreFailureEvent
}

type Channels = { readonly [name in keyof IdempotencyEvents]: Channel<unknown, IdempotencyEvents[name]> }

/**
 * The channels of `node:diagnostics_channel`, named `fastify-idempotency:` and the event. Nothing is made for an event
 * that nobody subscribes to. Subscribers run within the request and must not throw or block.
 */
export const channels = Object.fromEntries(([
  'claimed', 'takenOver', 'replayed', 'conflicted', 'mismatched', 'waited', 'completed', 'released', 'leaseLost', 'storeFailed'
] satisfies Array<keyof IdempotencyEvents>).map(name => [name, channel(`fastify-idempotency:${name}`)])) as unknown as Channels

/** Whom an event is about. */
export interface Subject {
  readonly request: FastifyRequest | null
  readonly scope: string
  readonly id: string
}

/** Method and pattern, for events and messages. */
export function routeOf (request: FastifyRequest | null): string {
  return request === null ? 'run' : `${request.method} ${request.routeOptions.url ?? ''}`
}

/** What every event tells of its subject. To be called only for a channel that has subscribers. */
export function eventOf ({ request, scope, id }: Subject, attempt: number | null, since: number): IdempotencyEvent {
  return {
    request,
    route: routeOf(request),
    scope,
    keyHash: id,
    attempt,
    duration: performance.now() - since
  }
}
