import { lookUp } from '../core/look-up.ts'
import { isSameRequest } from '../core/same-request.ts'
import { completedElsewhere, keyReused } from '../refusals.ts'
import type { Run } from './run.ts'

/**
 * `request.idempotency.lookUp()`: refuses a request whose outcome the journal has, before the handler acts elsewhere.
 */
export async function lookUpBefore (run: Run): Promise<void> {
  const { journal } = run.settings
  if (journal === false) {
    throw new Error('fastify-idempotency: request.idempotency.lookUp() needs a journal: ' +
      'set the option "journal", where the plugin is registered or on this route')
  }
  const entry = await lookUp(journal, run.id, run.log)
  if (entry === null) return
  throw isSameRequest(run.owned, entry.fingerprint) ? completedElsewhere() : keyReused()
}
