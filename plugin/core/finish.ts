import type { Outcome, OwnedClaim } from '../store/store.ts'
import type { Engine } from './engine.ts'
import type { Ownership } from './ownership.ts'
import { nameOf, warnTooLate } from './retry-queue.ts'
import { promiseOf } from './store-timeout.ts'

/**
 * Stores an outcome. The work is done: if the store does not take the outcome, the client gets its answer all the same,
 * and this process keeps the key until the store has the outcome.
 * @param fingerprint of the request that the outcome belongs to
 * @returns whether the key was still the owner's; `undefined` if that is not known yet
 */
export function complete (
  engine: Engine, owner: Ownership, outcome: Outcome, fingerprint = owner.owned.fingerprint
): Promise<boolean | undefined> {
  const owned = fingerprint === owner.owned.fingerprint ? owner.owned : { ...owner.owned, fingerprint }
  return new Promise((resolve) => { finish(engine, owner, owned, outcome, outcome.statusCode, resolve) })
}

/** As `complete`, for the owner's own request and without a promise. */
export function completeThen (
  engine: Engine, owner: Ownership, outcome: Outcome, done: (isOwner: boolean | undefined) => void
): void {
  finish(engine, owner, owner.owned, outcome, outcome.statusCode, done)
}

/**
 * Gives the key back, without an outcome.
 * @param statusCode that of the answer; `null` if there is none
 * @returns as `complete`
 */
export function release (engine: Engine, owner: Ownership, statusCode: number | null): Promise<boolean | undefined> {
  return new Promise((resolve) => { finish(engine, owner, owner.owned, null, statusCode, resolve) })
}

/** Undoes the claim of an owner that let nothing run: now, or once the store answers again. */
export async function withdraw (engine: Engine, owner: Ownership): Promise<void> {
  const { store, storeTimeout, leases, retryQueue } = engine
  const { id, owned, log } = owner
  leases.letGo(owner)
  try {
    await storeTimeout.limit(promiseOf(() => store.withdraw(id, owned)))
  } catch {
    retryQueue.withdraw(id, owned, log)
  }
}

// Without promises: this is the way of every run, and the benchmark shows what they cost here.
function finish (
  engine: Engine, owner: Ownership, owned: OwnedClaim, outcome: Outcome | null, statusCode: number | null,
  done: (isOwner: boolean | undefined) => void
): void {
  const { store, storeTimeout, replayCache } = engine
  owner.ended = true
  const sentAt = performance.now()
  const call = outcome === null
    ? promiseOf(() => store.release(owner.id, owned))
    : promiseOf(() => store.complete(owner.id, owned, outcome))
  storeTimeout.handle(call, (isOwner) => {
    if (!isOwner) warnTooLate(owner.log, outcome)
    else if (outcome !== null) replayCache?.keepStored(owner.id, owned, outcome, sentAt)
    letGo(engine, owner, outcome, statusCode, isOwner)
    done(isOwner)
  }, (error) => {
    engine.events.storeFailed({
      subject: owner,
      attempt: owned.attempt,
      sentAt,
      operation: outcome === null ? 'release' : 'complete',
      error,
      log: owner.log,
      level: 'error',
      message: `idempotency: the ${nameOf(outcome)} could not be stored, it is kept here and tried again`
    })
    const stored = (isOwner: boolean): void => { letGo(engine, owner, outcome, statusCode, isOwner) }
    engine.retryQueue.keep({ owner, owned, outcome, stored }, error)
    // The waiters of this process get the outcome from the retry queue.
    if (outcome !== null) owner.noteOver()
    done(undefined)
  })
}

/** The store has it, or another attempt owns the key. */
function letGo (
  engine: Engine, owner: Ownership, outcome: Outcome | null, statusCode: number | null, isOwner: boolean
): void {
  engine.leases.letGo(owner)
  if (isOwner) engine.events.finished(outcome === null ? 'released' : 'completed', owner, statusCode)
}
