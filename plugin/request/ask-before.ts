import { isSameRequest } from '../core/same-request.ts'
import { lookUp } from '../journal/look-up.ts'
import { completedElsewhere, keyReused } from './refuse.ts'
import type { Run } from './run.ts'

/** `request.idempotency.lookUp()`: whether the journal has an outcome already, before the handler acts elsewhere. */
export async function askBefore (run: Run): Promise<void> {
  const { journal } = run.settings
  if (journal === false) {
    throw new Error('fastify-idempotency: request.idempotency.lookUp() needs a journal: set the option "journal", where the plugin is registered or on this route')
  }
  const entry = await lookUp(journal, run.id, run.log)
  if (entry === null) return
  throw isSameRequest(run.owned, entry.fingerprint) ? completedElsewhere() : keyReused()
}
