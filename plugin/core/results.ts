import type { IdempotencyError } from '../errors.ts'
import { inProgress, keyReused, recordUnreadable, storeUnavailable } from '../refusals.ts'
import { RecordUnreadableError } from '../store/store.ts'
import type { Claim, ClaimResult, OwnedClaim } from '../store/store.ts'
import type { Acquired, Contender, SentClaim } from './engine.ts'
import { lookUp } from './look-up.ts'
import { isSameRequest } from './same-request.ts'

/** A claim that was granted, as the store knows its owner. */
export function ownedBy (claim: Claim, attempt: number): OwnedClaim {
  const { owner, fingerprint, alternativeFingerprint, lease, retention } = claim
  return { owner, fingerprint, alternativeFingerprint, lease, retention, takeOver: false, attempt }
}

/**
 * What a contender gets if its key was granted, is settled, or belongs to another request. A promise only where the
 * journal has to be asked.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_REUSED`
 */
export function resultFor (
  contender: Contender, sent: SentClaim, result: Exclude<ClaimResult, { state: 'running' }>
): Acquired | Promise<Acquired> {
  if (result.state === 'mismatch') return recallOrRefuse(contender, sent)
  const { claim, sentAt } = sent
  const { attempt } = result
  if (result.state === 'claimed') return { state: 'claimed', attempt, claim, sentAt }
  const { outcome } = result
  const known: Acquired = { state: 'settled', attempt, outcome, sentAt, recalled: false, cached: false }
  // The store had no room for the response. The journal may have it.
  const journalMayHaveMore = outcome.response === null && contender.settings.journal !== false
  return journalMayHaveMore ? recallResponse(contender, sent, known) : known
}

async function recallResponse (contender: Contender, sent: SentClaim, known: Acquired): Promise<Acquired> {
  return await recall(contender, sent) ?? known
}

/**
 * Redis may have lost this request's record, and another request may have taken the key since. The record of that
 * request is left as it is.
 */
async function recallOrRefuse (contender: Contender, sent: SentClaim): Promise<Acquired> {
  const recalled = await recall(contender, sent)
  if (recalled !== null) return recalled
  contender.engine.events.mismatched(contender.subject, null, sent.sentAt)
  throw keyReused()
}

/** The outcome that the journal has for this request, or `null`. */
async function recall (contender: Contender, { claim, sentAt }: SentClaim): Promise<Acquired | null> {
  const { engine, settings: { journal }, subject, log } = contender
  const entry = journal === false ? null : await lookUp(journal, subject.id, log)
  if (entry === null || !isSameRequest(claim, entry.fingerprint)) return null
  engine.events.recalled()
  const { attempt, outcome } = entry
  return { state: 'settled', attempt, outcome, sentAt, recalled: true, cached: false }
}

/**
 * What a contender gets whose key has an outcome that this process knows and the store does not have yet; `null` if
 * there is none.
 */
function fromRetryQueue (contender: Contender): Acquired | Promise<Acquired> | null {
  const { engine: { retryQueue }, subject: { id }, settings: { lease, retention }, identity } = contender
  const unstored = retryQueue.outcomeOf(id)
  if (unstored === undefined) return null
  const { owned: { owner, attempt, fingerprint }, outcome } = unstored
  const claim = { owner, lease, retention, takeOver: false, ...identity }
  const sent = { claim, sentAt: performance.now() }
  return resultFor(contender, sent, isSameRequest(claim, fingerprint)
    ? { state: 'settled', attempt, outcome }
    : { state: 'mismatch' })
}

/**
 * What a contender gets whose key has an outcome in the memory of this process; `null` if there is none. No command is
 * sent to the store.
 */
export function fromMemory (contender: Contender): Acquired | Promise<Acquired> | null {
  return fromRetryQueue(contender) ?? fromReplayCache(contender)
}

/**
 * What a contender gets whose key has an outcome in the replay cache; `null` if there is none, or if it belongs to
 * another request.
 */
function fromReplayCache ({ engine, subject: { id }, identity }: Contender): Acquired | null {
  const { replayCache } = engine
  if (replayCache === null) return null
  const now = performance.now()
  const found = replayCache.get(id, identity.fingerprint, now)
  if (found === null) return null
  const { attempt, outcome } = found
  return { state: 'settled', attempt, outcome, sentAt: now, recalled: false, cached: true }
}

/**
 * The key has an owner, and this contender is not held, or not any longer.
 * @param since `performance.now()` when it first wanted the key
 */
export function conflict ({ engine, subject }: Contender, since: number): IdempotencyError {
  engine.events.conflicted(subject, null, since)
  return inProgress()
}

/**
 * What a contender gets when the store failed.
 * @param isOwned somebody is known to own the key: a run without protection must not start beside that owner
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_STORE_UNAVAILABLE`, `FST_IDEMPOTENCY_RECORD_UNREADABLE`
 */
export function storeFailed (contender: Contender, sentAt: number, error: unknown, isOwned: boolean): 'bypass' {
  const { engine, settings, subject, log } = contender
  const failure = { subject, attempt: null, sentAt, operation: 'claim', error, log } as const
  if (error instanceof RecordUnreadableError) {
    engine.events.storeFailed({
      ...failure,
      level: 'error',
      message: 'idempotency: the key has a record that this version cannot read, the request is refused'
    })
    throw recordUnreadable(error)
  }
  // This process knows its own owners without the store.
  if (settings.onStoreError === 'bypass' && !isOwned && engine.leases.ownerOf(subject.id) === undefined) {
    engine.events.storeFailed({
      ...failure,
      level: 'warn',
      message: 'idempotency: the store did not answer, the request runs unprotected'
    })
    engine.events.bypassed()
    return 'bypass'
  }
  engine.events.storeFailed({
    ...failure,
    level: 'error',
    message: 'idempotency: the store did not answer, the request is refused'
  })
  throw storeUnavailable(error)
}
