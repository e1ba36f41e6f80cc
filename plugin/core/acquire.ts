import { Acquisition } from './acquisition.ts'
import { channels, eventOf } from '../observe/channels.ts'
import type { Engine } from './engine.ts'
import type { Ownership } from './ownership.ts'
import { fromPending } from './contender.ts'
import type { Obtained, Pursuit } from './contender.ts'

/**
 * Claims a key in the store, after its owner where it has one and the settings say to wait for it. `'bypass'`: the store
 * does not answer, and the settings say to run all the same.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS`, `FST_IDEMPOTENCY_KEY_REUSED`,
 *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE`, `FST_IDEMPOTENCY_RECORD_UNREADABLE`
 */
export function obtain (pursuit: Pursuit): Promise<Obtained | 'bypass'> {
  const { engine, subject: { id } } = pursuit
  const known = fromPending(pursuit)
  if (known !== null) return known
  const shared = engine.acquisitions.get(id)
  return shared?.isOf(pursuit) === true ? shared.join(pursuit) : new Acquisition(pursuit).begin()
}

/** The owner is let through to its work. */
export function noteClaimed (engine: Engine, owner: Ownership): void {
  const { attempt } = owner.owned
  engine.counts.claimed++
  if (attempt > 1) engine.counts.retried++
  const channel = attempt > 1 ? channels.takenOver : channels.claimed
  if (channel.hasSubscribers) channel.publish(eventOf(owner, attempt, owner.began))
}
