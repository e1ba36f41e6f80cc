import type { FastifyBaseLogger, LogLevel } from 'fastify'
import { bareError, factsOf } from '../shared/error-facts.ts'
import type { IdempotencyStats } from '../types.ts'
import { channels, eventOf } from './channels.ts'
import type { IdempotencyStoreFailureEvent, Subject } from './channels.ts'

/** The counters of `app.idempotency.stats()` that only grow. */
export type Counts = Omit<IdempotencyStats, 'running' | 'waiting' | 'pending' | 'cacheEntries' | 'cacheSize'>

/** A run that owns its key. */
export interface Owner extends Subject {
  readonly owned: { readonly attempt: number }
  /** `performance.now()` of the claim. */
  readonly startedAt: number
  readonly log: FastifyBaseLogger
}

/** A call of the store that failed or took too long. */
export interface StoreFailure extends Pick<IdempotencyStoreFailureEvent, 'operation'> {
  subject: Subject
  attempt: number | null
  /** `performance.now()` before the call. */
  sentAt: number
  error: unknown
  log: FastifyBaseLogger
  level: Extract<LogLevel, 'warn' | 'error'>
  /** What follows from it, for the log. */
  message: string
}

/** A replay. */
export interface ReplayFacts {
  attempt: number
  /** `performance.now()` from which its duration counts. */
  since: number
  /** The outcome comes from the journal. */
  recalled: boolean
  /** The outcome comes from the replay cache of this process. */
  cached: boolean
}

/**
 * Every event of a key, one method each. It counts the event. If the event has a channel or a log line of its own, it
 * writes these too. A `since` is the `performance.now()` from which the event's duration counts.
 */
export class Events {
  readonly counts: Counts = {
    claimed: 0,
    retried: 0,
    completed: 0,
    released: 0,
    replayed: 0,
    cached: 0,
    recalled: 0,
    conflicts: 0,
    mismatches: 0,
    waited: 0,
    bypassed: 0,
    leasesLost: 0,
    storeErrors: 0
  }

  /** A run is let through to its work. */
  claimed (owner: Owner): void {
    const { attempt } = owner.owned
    this.counts.claimed++
    if (attempt > 1) this.counts.retried++
    const channel = attempt > 1 ? channels.takenOver : channels.claimed
    if (channel.hasSubscribers) channel.publish(eventOf(owner, attempt, owner.startedAt))
  }

  /** A duplicate gets the kept outcome. */
  replayed (subject: Subject, statusCode: number, { attempt, since, recalled, cached }: ReplayFacts): void {
    this.counts.replayed++
    if (cached) this.counts.cached++
    if (!channels.replayed.hasSubscribers) return
    channels.replayed.publish({ ...eventOf(subject, attempt, since), statusCode, recalled, cached })
  }

  /** An outcome was found in the journal and not in the store. */
  recalled (): void {
    this.counts.recalled++
  }

  /** A duplicate is rejected: the key has an owner, or its response was not kept. */
  conflicted (subject: Subject, attempt: number | null, since: number): void {
    this.counts.conflicts++
    if (channels.conflicted.hasSubscribers) channels.conflicted.publish(eventOf(subject, attempt, since))
  }

  /** A request is refused, since the key belongs to another request. */
  mismatched (subject: Subject, attempt: number | null, since: number): void {
    this.counts.mismatches++
    if (channels.mismatched.hasSubscribers) channels.mismatched.publish(eventOf(subject, attempt, since))
  }

  /** A duplicate begins to wait for the owner's answer. */
  waitBegan (): void {
    this.counts.waited++
  }

  waitEnded (subject: Subject, since: number): void {
    if (channels.waited.hasSubscribers) channels.waited.publish(eventOf(subject, null, since))
  }

  /** A run goes on without protection. */
  bypassed (): void {
    this.counts.bypassed++
  }

  /**
   * The store has what a run ended with.
   * @param done `completed`: an outcome; `released`: nothing, the key is free
   * @param statusCode that of the answer; `null` if it is not known
   */
  finished (done: 'completed' | 'released', owner: Owner, statusCode: number | null): void {
    this.counts[done]++
    const channel = channels[done]
    if (!channel.hasSubscribers) return
    const event = eventOf(owner, owner.owned.attempt, owner.startedAt)
    channel.publish({ ...event, statusCode: owner.request === null ? null : statusCode })
  }

  /** A run goes on whose key is, or may be, another run's by now. */
  leaseLost (owner: Owner, why: string): void {
    this.counts.leasesLost++
    owner.log.warn(`idempotency: lost the key while the handler ran: ${why}`)
    if (channels.leaseLost.hasSubscribers) {
      channels.leaseLost.publish(eventOf(owner, owner.owned.attempt, owner.startedAt))
    }
  }

  /** Any call of the store failed or took too long, an operator's too. */
  storeCallFailed (): void {
    this.counts.storeErrors++
  }

  /** A call of the store failed that a run or a request depends on. */
  storeFailed ({ subject, attempt, sentAt, operation, error, log, level, message }: StoreFailure): void {
    if (channels.storeFailed.hasSubscribers) {
      channels.storeFailed.publish({ ...eventOf(subject, attempt, sentAt), operation, error: bareError(error) })
    }
    log[level]({ err: factsOf(error) }, message)
  }
}
