import type { Engine } from '../core/engine.ts'
import { checkText } from '../core/ids.ts'
import { recordId } from '../core/record-id.ts'
import { promiseOf } from '../core/store-timeout.ts'
import type { KeptResponse } from '../store/store.ts'
import type { FoundRecord, Idempotency, IdempotencyStats } from '../types.ts'
import { runOnce } from './run.ts'

/** `app.idempotency`. */
export function operatorOf (engine: Engine): Idempotency {
  const { store, storeTimeout, leases, retryQueue, replayCache, events } = engine
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
      const id = idOf(key, scope)
      const call = promiseOf(() => store.forget(id))
      // Before, so that no duplicate is answered from it any more. Afterwards, because until then the store may have
      // returned the outcome once more. A call that took too long may still be carried out.
      replayCache?.forget(id)
      const forgetAgain = (): void => { replayCache?.forget(id) }
      call.then(forgetAgain, forgetAgain)
      return await storeTimeout.limit(call)
    },

    run: (operation, work) => runOnce(engine, operation, work),

    stats (): IdempotencyStats {
      return {
        ...events.counts,
        running: leases.running,
        waiting: engine.waiting,
        pending: retryQueue.size,
        cacheEntries: replayCache?.entries ?? 0,
        cacheSize: replayCache?.size ?? 0
      }
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
