import { checkText, recordId } from '../request/key.ts'
import type { Engine } from '../core/engine.ts'
import { runOnce } from './run.ts'
import type { KeptResponse } from '../store/store.ts'
import type { FoundRecord, Idempotency, IdempotencyStats } from '../types.ts'

/** `app.idempotency`. */
export function operatorOf (engine: Engine): Idempotency {
  const { store, deadline, leases, pending, counts } = engine
  return {
    async find (key: string | number, scope: string | number): Promise<FoundRecord | null> {
      const found = await deadline.race(store.find(idOf(key, scope)))
      if (found === null) return null
      const { state, attempt, expiresIn, leaseLeft, outcome } = found
      return {
        state,
        attempt,
        expiresIn,
        leaseLeft,
        statusCode: outcome?.statusCode ?? null,
        response: outcome?.response == null ? null : { headers: headersOf(outcome.response), body: Buffer.from(outcome.response.body as string) }
      }
    },

    async forget (key: string | number, scope: string | number): Promise<boolean> {
      return await deadline.race(store.forget(idOf(key, scope)))
    },

    run: (operation, work) => runOnce(engine, operation, work),

    stats (): IdempotencyStats {
      return { ...counts, leasesLost: leases.lost, storeErrors: deadline.failures, running: leases.running, waiting: engine.waiting, pending: pending.size }
    }
  }
}

function idOf (key: string | number, scope: string | number): string {
  return recordId(checkText('scope', scope), checkText('key', key))
}

function headersOf ({ headers }: KeptResponse): Record<string, string | string[]> {
  const present = headers.filter((entry): entry is [string, string | string[]] => entry[1] !== null)
  return structuredClone(Object.fromEntries(present))
}
