import type { Test } from 'tap'

/** The clock of the whole process, until the test ends: it continues as usual, and can be moved forward. */
export function putClockForward (t: Test): (milliseconds: number) => void {
  const now = performance.now.bind(performance)
  let ahead = 0
  Object.defineProperty(performance, 'now', { value: () => now() + ahead, configurable: true })
  t.teardown(() => { Reflect.deleteProperty(performance, 'now') })
  return (milliseconds) => { ahead += milliseconds }
}
