import type { Waiter } from './waiter.ts'

/**
 * Milliseconds in which the owner's client may turn out to have left. Its end reaches the owner's process, the
 * duplicate that it sends in the same moment may reach another process, and either may come first.
 */
export const GRACE = 250

/** What an acquisition knows of the key's owner. */
export interface OwnerFacts {
  ownerLeft: boolean
  /** `performance.now()` from which this process may take over a lease that ran out. */
  hesitatesUntil: number
  /** How many contenders share the acquisition. */
  waiters: number
}

/** How long a waiter is held at most. */
export interface Hold {
  /** `performance.now()` at which it is rejected. */
  until: number
  /**
   * true: it is held for the owner's answer. false: it is held until it is known whether the owner's client has left.
   */
  waitsForOwner: boolean
}

/** How long to hold a waiter whose key has an owner; `null` if it is to be rejected now. */
export function holdFor (waiter: Waiter, { ownerLeft, hesitatesUntil, waiters }: OwnerFacts): Hold | null {
  const { contender, startedAt } = waiter
  const { engine, client, subject, settings: { onConflict, waitTimeout, maxWaitersPerKey } } = contender
  const localOwner = engine.leases.ownerOf(subject.id)
  const waitsForOwner = onConflict === 'wait' || waiter.waitsForOwner || (onConflict === 'auto' && ownerLeft)
  // An owner whose client was answered while the handler goes on (`handlerTimeout`) has no client that could yet leave.
  const clientMayLeave = onConflict === 'auto' && localOwner?.isWatched !== false
  // A waiter that is rejected while this process hesitates would be rejected with each retry that comes to an idle
  // process.
  const until = Math.max(startedAt + (waitsForOwner ? waitTimeout : clientMayLeave ? GRACE : 0), hesitatesUntil)
  const isFull = engine.waiting >= engine.settings.maxWaiters || waiters > maxWaitersPerKey
  if (isFull && !waiter.isHeld) return null
  if (until <= performance.now() || client?.hasLeft === true) return null
  if (engine.closing.aborted && localOwner === undefined) return null
  // After the grace it is held for up to `storeTimeout` more, so that the store can be asked once more.
  return { until: waitsForOwner ? until : until + engine.settings.storeTimeout, waitsForOwner }
}
