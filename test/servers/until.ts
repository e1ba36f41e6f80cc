import { setInterval } from 'node:timers/promises'

/**
 * Resolves as soon as `condition` holds, which is checked every few milliseconds. Rejects after `timeout` milliseconds;
 * only a hang reaches the default.
 * @param what the subject of the error's message
 */
export async function until (condition: () => unknown, what = 'the condition', timeout = 120_000): Promise<void> {
  const start = performance.now()
  const checks = setInterval(5)[Symbol.asyncIterator]()
  try {
    while (!await condition()) {
      await checks.next()
      if (performance.now() - start > timeout) throw new Error(`${what} did not come true within ${timeout} ms`)
    }
  } finally {
    await checks.return?.()
  }
}
