import fc from 'fast-check'
import type { Test } from 'tap'

/**
 * Asserts that a property holds. Within it, assert with `node:assert`: only what throws is shrunk to the smallest
 * counterexample. A failure names the seed and the path with which it is seen again.
 */
export async function holds<T> (t: Test, property: fc.IRawProperty<T>, numRuns: number): Promise<void> {
  const details = await fc.check(property, { numRuns })
  if (details.failed) {
    const error = details.errorInstance
    t.fail(`${fc.defaultReportMessage(details)}\n${error instanceof Error ? error.stack : String(error)}`)
    return
  }
  t.ok(details.numRuns > 0, `held ${details.numRuns} times`)
}

/** Asserts that the checker notices what is wrong: it finds a counterexample. */
export async function isCaught<T> (t: Test, property: fc.IRawProperty<T>, numRuns: number, why: RegExp): Promise<void> {
  const details = await fc.check(property, { numRuns, endOnFailure: true })
  t.ok(details.failed && details.counterexample !== null, `a counterexample is found within ${numRuns} runs`)
  const error = details.errorInstance
  t.match(error instanceof Error ? error.message : String(error), why)
}
