import { randomBytes } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { answerOf } from './deadline.ts'
import { channels, eventOf } from './diagnostics.ts'
import type { Subject } from './diagnostics.ts'
import type { Engine } from './engine.ts'
import { leadOrFollow } from './follow.ts'
import { IdempotencyError, StoreTimeoutError } from './errors.ts'
import { isSameRequest } from './journal/journal.ts'
import { lookUp } from './journal/look-up.ts'
import type { RouteSettings } from './options.ts'
import type { Ownership } from './ownership.ts'
import { inProgress, keyReused } from './request/refuse.ts'
import { StoreUnreachableError } from './store/store.ts'
import type { Claim, ClaimResult } from './store/store.ts'

/** The key is the caller's own, or has an outcome. */
export interface Obtained {
  result: Extract<ClaimResult, { state: 'claimed' | 'settled' }>
  claim: Claim
  /** `performance.now()` before the claim was sent: the lease cannot have begun earlier. */
  asked: number
  /** The outcome is that of the journal. */
  recalled: boolean
}

/** A key that is being claimed: what it takes to claim it again after a wait. */
export interface Pursuit {
  readonly engine: Engine
  readonly settings: RouteSettings
  readonly subject: Subject
  readonly claim: Claim
  readonly log: FastifyBaseLogger
  /** `performance.now()` until which its owner is waited for. */
  readonly waitUntil: number
  /** `performance.now()` when the wait began; NaN before. */
  waitingSince: number
  asked: number
  /** Those of this process that take what this one finds. */
  readonly followers: Pursuit[]
}

const NO_FOLLOWERS: Pursuit[] = []

/**
 * Claims a key in the store; with `onConflict: 'wait'` after its owner, if it has one. `'bypass'`: the store does not
 * answer, and the settings say to run all the same.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS`, `FST_IDEMPOTENCY_KEY_REUSED`,
 *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE`
 */
export function obtain (engine: Engine, settings: RouteSettings, subject: Subject, fingerprint: string, log: FastifyBaseLogger): Promise<Obtained | 'bypass'> {
  const waits = settings.onConflict === 'wait'
  const pursuit: Pursuit = {
    engine,
    settings,
    subject,
    claim: { owner: nextOwner(), fingerprint, lease: settings.lease, retention: settings.retention },
    log,
    waitUntil: waits ? performance.now() + settings.waitTimeout : 0,
    waitingSince: NaN,
    asked: 0,
    followers: waits ? [] : NO_FOLLOWERS
  }
  return waits ? leadOrFollow(pursuit) : pursue(pursuit)
}

export function pursue (pursuit: Pursuit): Promise<Obtained | 'bypass'> {
  const { engine, subject, claim } = pursuit
  pursuit.asked = performance.now()
  const call = answerOf(() => engine.store.claim(subject.id, claim))
  return engine.deadline.race(call).then((result) => {
    if (result.state === 'claimed' && performance.now() - pursuit.asked >= claim.lease) {
      return failed(pursuit, call, new StoreTimeoutError('The idempotency store granted the key only after its lease was over'))
    }
    return answered(pursuit, result)
  }, (error: unknown) => failed(pursuit, call, error))
}

function failed (pursuit: Pursuit, call: Promise<ClaimResult>, error: unknown): 'bypass' {
  const { engine, settings, subject, claim, log } = pursuit
  noteWait(pursuit)
  if (channels.storeFailed.hasSubscribers) channels.storeFailed.publish({ ...eventOf(subject, null, pursuit.asked), operation: 'claim', error })
  giveBackWhenKnown(engine, subject.id, claim, call, log)
  // Whoever is known to run must not be joined by an unprotected run.
  return refuseOrBypass(engine, isWaiting(pursuit) ? 'reject' : settings.onStoreError, error, log)
}

function answered (pursuit: Pursuit, result: ClaimResult): Obtained | Promise<Obtained | 'bypass'> {
  const { engine, subject, claim, asked } = pursuit
  switch (result.state) {
    case 'claimed':
    case 'settled':
      noteWait(pursuit)
      return { result, claim, asked, recalled: false }
    case 'mismatch':
      noteWait(pursuit)
      return recallOrRefuse(pursuit)
    case 'running': {
      const left = timeLeft(pursuit)
      startWaiting(pursuit)
      return engine.store.wait(subject.id, Math.min(left, result.leaseLeft), engine.closing).then(() => pursue(pursuit))
    }
  }
}

/**
 * Milliseconds for which the owner may still be waited for.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS` if there are none
 */
export function timeLeft (pursuit: Pursuit): number {
  const { engine, subject, waitUntil, asked } = pursuit
  const left = waitUntil - performance.now()
  if (left > 0 && !engine.closing.aborted) return left
  noteWait(pursuit)
  engine.counts.conflicts++
  if (channels.conflicted.hasSubscribers) channels.conflicted.publish(eventOf(subject, null, asked))
  throw inProgress()
}

/** The key has an owner. Whoever follows this pursuit waits for it too. */
export function startWaiting (pursuit: Pursuit): void {
  if (isWaiting(pursuit)) return
  pursuit.waitingSince = performance.now()
  pursuit.engine.counts.waited++
  for (const follower of pursuit.followers) startWaiting(follower)
}

export function isWaiting ({ waitingSince }: Pursuit): boolean {
  return !Number.isNaN(waitingSince)
}

/** Redis may have lost the record, and given the key to another body since. That one's record is left to its owner. */
async function recallOrRefuse ({ engine, settings: { journal }, subject, claim, log, asked }: Pursuit): Promise<Obtained> {
  const entry = journal === false ? null : await lookUp(journal, subject.id, log)
  if (entry !== null && isSameRequest(entry, claim)) {
    engine.counts.recalled++
    return { result: { state: 'settled', attempt: entry.attempt, outcome: entry.outcome }, claim, asked, recalled: true }
  }
  engine.counts.mismatches++
  if (channels.mismatched.hasSubscribers) channels.mismatched.publish(eventOf(subject, null, asked))
  throw keyReused()
}

export function noteWait (pursuit: Pursuit): void {
  if (isWaiting(pursuit) && channels.waited.hasSubscribers) channels.waited.publish(eventOf(pursuit.subject, null, pursuit.waitingSince))
}

/** The owner is let through to its work. */
export function noteClaimed (engine: Engine, owner: Ownership): void {
  const { attempt } = owner.owned
  engine.counts.claimed++
  if (attempt > 1) engine.counts.retried++
  const channel = attempt > 1 ? channels.takenOver : channels.claimed
  if (channel.hasSubscribers) channel.publish(eventOf(owner, attempt, owner.began))
}

export function refuseOrBypass (engine: Engine, choice: RouteSettings['onStoreError'], err: unknown, log: FastifyBaseLogger): 'bypass' {
  if (choice === 'bypass') {
    engine.counts.bypassed++
    log.warn({ err }, 'idempotency: the store did not answer, the request runs unprotected')
    return 'bypass'
  }
  log.error({ err }, 'idempotency: the store did not answer, the request is refused')
  throw new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'The request was not carried out, since it could not be protected against being carried out twice: send it again later', { cause: err })
}

/** A claim whose answer did not come may have been granted: without this, nobody could have the key for a lease. */
function giveBackWhenKnown (engine: Engine, id: string, claim: Claim, call: Promise<ClaimResult>, log: FastifyBaseLogger): void {
  call.then((result) => {
    if (result.state === 'claimed') giveBack(engine, id, claim, log)
  }, (err: unknown) => {
    if (!(err instanceof StoreUnreachableError)) giveBack(engine, id, claim, log)
  })
}

export function giveBack (engine: Engine, id: string, claim: Claim, log: FastifyBaseLogger): void {
  engine.background.insist('release of a claim that was given up', claim.lease, log, async () => {
    await engine.store.release(id, { ...claim, attempt: 0 })
    // Whether there was something to release does not matter.
    return true
  })
}

/** 66 random bits: which process. */
const PROCESS_TOKEN = randomBytes(9).toString('base64url').slice(0, 11)
let ownersMade = 0

/** 18 characters that no other claim has: random ones of this process, and a count. */
function nextOwner (): string {
  return PROCESS_TOKEN + (++ownersMade).toString(36).padStart(7, '0')
}
