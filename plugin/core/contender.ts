import type { FastifyBaseLogger } from 'fastify'
import { channels, eventOf } from '../observe/channels.ts'
import type { Subject } from '../observe/channels.ts'
import type { Engine } from './engine.ts'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { IdempotencyError } from '../errors.ts'
import { lookUp } from '../journal/look-up.ts'
import { inProgress, keyReused } from '../request/refuse.ts'
import type { RouteSettings } from '../options.ts'
import { isSameRequest } from './same-request.ts'
import type { Identity } from './same-request.ts'
import { RecordUnreadableError } from '../store/store.ts'
import type { Claim, ClaimResult, OwnedClaim } from '../store/store.ts'

/** The client that is to get the answer. Calls of `app.idempotency.run` have none. */
export interface Client {
  readonly hasLeft: boolean
  /** Calls `listener` when the client leaves, unless the returned function is called before. */
  onLeft (listener: () => void): () => void
}

/** Who wants a key, and for which request. */
export interface Pursuit {
  readonly engine: Engine
  readonly settings: RouteSettings
  readonly subject: Subject
  readonly identity: Identity
  readonly log: FastifyBaseLogger
  readonly client: Client | null
}

/** The key is the caller's own, or has an outcome. */
export interface Obtained {
  result: Extract<ClaimResult, { state: 'claimed' | 'settled' }>
  claim: Claim
  /** `performance.now()` before the claim was sent: the lease cannot have begun earlier. */
  asked: number
  /** The outcome is that of the journal. */
  recalled: boolean
}

/** One question to the store. */
export interface Asked {
  readonly claim: Claim
  /** `performance.now()` before it was sent. */
  readonly asked: number
}

/** What the owner of a key that was granted is known by. */
export function ownedBy ({ owner, fingerprint, alternativeFingerprint, lease, retention }: Claim, attempt: number): OwnedClaim {
  return { owner, fingerprint, alternativeFingerprint, lease, retention, takeOver: false, attempt }
}

/**
 * What becomes of somebody whose key is settled, granted, or another request's.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_REUSED`
 */
export function answered (pursuit: Pursuit, { claim, asked }: Asked, result: Exclude<ClaimResult, { state: 'running' }>): Obtained | Promise<Obtained> {
  if (result.state === 'mismatch') return recallOrRefuse(pursuit, claim, asked)
  const obtained = { result, claim, asked, recalled: false }
  // What the store had no room for may stand in the journal.
  const hasMore = result.state === 'settled' && result.outcome.response === null && pursuit.settings.journal !== false
  return hasMore ? recallResponse(pursuit, obtained) : obtained
}

async function recallResponse (pursuit: Pursuit, obtained: Obtained): Promise<Obtained> {
  const recalled = await recalledOf(pursuit, obtained.claim, obtained.asked)
  return recalled ?? obtained
}

/** Redis may have lost the record, and given the key to another body since. That one's record is left to its owner. */
async function recallOrRefuse (pursuit: Pursuit, claim: Claim, asked: number): Promise<Obtained> {
  const recalled = await recalledOf(pursuit, claim, asked)
  if (recalled !== null) return recalled
  const { engine, subject } = pursuit
  engine.counts.mismatches++
  if (channels.mismatched.hasSubscribers) channels.mismatched.publish(eventOf(subject, null, asked))
  throw keyReused()
}

/** What the journal has of this request; `null` if that is nothing. */
async function recalledOf ({ engine, settings: { journal }, subject, log }: Pursuit, claim: Claim, asked: number): Promise<Obtained | null> {
  const entry = journal === false ? null : await lookUp(journal, subject.id, log)
  if (entry === null || !isSameRequest(claim, entry.fingerprint)) return null
  engine.counts.recalled++
  return { result: { state: 'settled', attempt: entry.attempt, outcome: entry.outcome }, claim, asked, recalled: true }
}

/** What becomes of somebody whose key has an outcome that the store has yet to get, and that is known here. Else `null`. */
export function fromPending (pursuit: Pursuit): Promise<Obtained> | null {
  const { engine: { pending }, subject: { id }, settings: { lease, retention }, identity } = pursuit
  const ending = pending.outcomeOf(id)
  if (ending === undefined) return null
  const { owned: { owner, attempt, fingerprint }, outcome } = ending
  const claim = { owner, lease, retention, takeOver: false, ...identity }
  const result: Parameters<typeof answered>[2] = isSameRequest(claim, fingerprint) ? { state: 'settled', attempt, outcome } : { state: 'mismatch' }
  return Promise.resolve(answered(pursuit, { claim, asked: performance.now() }, result))
}

/** The key has an owner, and this one is not held (any longer). */
export function conflict ({ engine, subject }: Pursuit, asked: number): IdempotencyError {
  engine.counts.conflicts++
  if (channels.conflicted.hasSubscribers) channels.conflicted.publish(eventOf(subject, null, asked))
  return inProgress()
}

/**
 * The store failed. `'bypass'`: the settings say to run all the same.
 * @param isOwned somebody is known to run, and must not be joined by an unprotected run
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_STORE_UNAVAILABLE`, `FST_IDEMPOTENCY_RECORD_UNREADABLE`
 */
export function failed ({ engine, settings, subject, log }: Pursuit, asked: number, error: unknown, isOwned: boolean): 'bypass' {
  if (channels.storeFailed.hasSubscribers) channels.storeFailed.publish({ ...eventOf(subject, null, asked), operation: 'claim', error: bareError(error) })
  const err = factsOf(error)
  if (error instanceof RecordUnreadableError) {
    log.error({ err }, 'idempotency: the key has a record that this version cannot read, the request is refused')
    throw new IdempotencyError('FST_IDEMPOTENCY_RECORD_UNREADABLE', 'A request with this idempotency key may have been carried out, by another version of this service: look its effect up instead of sending it again', { cause: bareError(error) })
  }
  // What runs in this process is known without the store.
  if (settings.onStoreError === 'bypass' && !isOwned && engine.leases.ownerOf(subject.id) === undefined) {
    engine.counts.bypassed++
    log.warn({ err }, 'idempotency: the store did not answer, the request runs unprotected')
    return 'bypass'
  }
  log.error({ err }, 'idempotency: the store did not answer, the request is refused')
  throw new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'The request was not carried out, since it could not be protected against being carried out twice: send it again later', { cause: bareError(error) })
}
