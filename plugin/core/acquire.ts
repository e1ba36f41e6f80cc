import { Acquisition } from './acquisition.ts'
import type { Contender } from './engine.ts'
import { give } from './give.ts'
import { fromMemory } from './results.ts'

/**
 * Acquires a key: takes an outcome that this process has in memory, claims the key in the store, or joins those of this
 * process that are claiming it. Where the key has an owner and the settings say so, it waits for the owner. Calls
 * `acquired` or `refused` of the contender. The errors are `FST_IDEMPOTENCY_IN_PROGRESS`, `FST_IDEMPOTENCY_KEY_REUSED`,
 * `FST_IDEMPOTENCY_STORE_UNAVAILABLE` and `FST_IDEMPOTENCY_RECORD_UNREADABLE`.
 */
export function acquire (contender: Contender): void {
  const { engine, subject: { id } } = contender
  const known = fromMemory(contender)
  if (known !== null) return give(contender, known)
  const shared = engine.acquisitions.get(id)
  if (shared?.isFor(contender) === true) shared.join(contender)
  else new Acquisition(contender).start()
}
