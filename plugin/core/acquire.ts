import { Acquisition } from './acquisition.ts'
import type { Acquired, Contender } from './engine.ts'
import { fromMemory } from './results.ts'

/**
 * Acquires a key: takes an outcome that this process has in memory, claims the key in the store, or joins those of this
 * process that are claiming it. Where the key has an owner and the settings say so, it waits for the owner.
 * @returns `'bypass'` if the store failed and the settings say to run without protection
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS`, `FST_IDEMPOTENCY_KEY_REUSED`,
 *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE`, `FST_IDEMPOTENCY_RECORD_UNREADABLE`
 */
export function acquire (contender: Contender): Promise<Acquired | 'bypass'> {
  const { engine, subject: { id } } = contender
  const known = fromMemory(contender)
  if (known !== null) return known
  const shared = engine.acquisitions.get(id)
  return shared?.isFor(contender) === true ? shared.join(contender) : new Acquisition(contender).start()
}
