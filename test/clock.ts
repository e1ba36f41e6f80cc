import type { Test } from 'tap'

/** The clock of the whole process, until the test ends: it goes on as it does, and can be put forward. */
export function putClockForward (t: Test): (milliseconds: number) => void {
  const now = performance.now.bind(performance)
  let ahead = 0
  Object.defineProperty(performance, 'now', { value: () => now() + ahead, configurable: true })
  t.teardown(() => { Reflect.deleteProperty(performance, 'now') })
  return (milliseconds) => { ahead += milliseconds }
}
