import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { idempotentFetch } from '../../plugin/client/index.ts'
import { until } from '../helper.ts'

export interface Load {
  /** Waits until this many more payments were answered. */
  more (payments: number): Promise<void>
  /** Lets the clients finish what they are doing. Resolves to the status of each payment's answer, by its key. */
  end (): Promise<Map<string, number>>
}

/**
 * Clients that pay one after the other. Each payment has a key of its own, and the client sends it again when it fails.
 */
export function startLoad (t: Test, url: string, clients = 8): Load {
  // The clients run as long as necessary: the speed of the machine does not matter.
  const pay = idempotentFetch({ tryTimeout: 300_000, totalTimeout: 600_000 })
  const statuses = new Map<string, number>()
  const ending = new AbortController()
  const failed = new AbortController()
  const client = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const key = randomUUID()
      const response = await pay(`${url}/pay`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
        idempotencyKey: key,
        signal: failed.signal
      })
      await response.text()
      statuses.set(key, response.status)
    }
  }
  const working = Promise.all(Array.from({ length: clients }, client))
  working.catch(() => {})
  t.teardown(() => failed.abort())
  return {
    async more (payments) {
      const goal = statuses.size + payments
      await Promise.race([until(() => statuses.size >= goal, `${payments} more payments`, 60_000), working])
    },
    async end () {
      ending.abort()
      await working
      return statuses
    }
  }
}
