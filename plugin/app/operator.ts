import type { Engine } from '../core/engine.ts'
import { checkText } from '../core/ids.ts'
import { recordId } from '../core/record-id.ts'
import type { KeptResponse } from '../store/store.ts'
import type { FoundRecord, Idempotency, IdempotencyStats } from '../types.ts'
import { runOnce } from './run.ts'

/** `app.idempotency`. */
export function operatorOf (engine: Engine): Idempotency {
  const { store, storeTimeout, leases, retryQueue, events } = engine
  return {
    async find (key: string | number, scope: string | number): Promise<FoundRecord | null> {
      const found = await storeTimeout.limit(store.find(idOf(key, scope)))
      if (found === null) return null
      const { state, attempt, expiresIn, leaseLeft, outcome } = found
      const response = outcome?.response ?? null
      return {
        state,
        attempt,
        expiresIn,
        leaseLeft,
        statusCode: outcome?.statusCode ?? null,
        response: response === null
          ? null
          : { headers: headersOf(response), body: Buffer.from(response.body as string) }
      }
    },

    async forget (key: string | number, scope: string | number): Promise<boolean> {
      return await storeTimeout.limit(store.forget(idOf(key, scope)))
    },

    run: (operation, work) => runOnce(engine, operation, work),

    stats (): IdempotencyStats {
      return { ...events.counts, running: leases.running, waiting: engine.waiting, pending: retryQueue.size }
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
