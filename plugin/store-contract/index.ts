import { claimCases } from './claim.ts'
import { leftCases } from './left.ts'
import { lostCases } from './lost.ts'
import { outcomeCases } from './outcome.ts'
import { ownerCases } from './owner.ts'
import { retentionCases } from './retention.ts'
import { waitCases } from './wait.ts'
import { withdrawCases } from './withdraw.ts'
import type { StoreCase } from './case.ts'

/**
 * What every store promises, each sentence of the `Store` interface, as cases for any test runner:
 *
 * ```ts
 * import test from 'node:test'
 * import { storeContract } from 'fastify-idempotency/store-contract'
 *
 * for (const { name, run } of storeContract) {
 *   test(name, () => run({ store, other }))
 * }
 * ```
 *
 * `store` and `other` are two instances on the same records, each with a connection of its own, or twice the same one
 * for a store that is one process's. They are used with random keys only, so one pair does for all cases.
 *
 * Nothing is mocked: leases and retentions are short and run out by the store's own clock, and what is left of them may
 * be told up to 20 ms wrong. No case needs a fast machine or database: a limit is measured from when a call began to
 * when its answer came. All together take some ten seconds one after the other, and about one at the same time.
 */
export const storeContract: readonly StoreCase[] = [
  ...claimCases,
  ...ownerCases,
  ...withdrawCases,
  ...leftCases,
  ...lostCases,
  ...outcomeCases,
  ...retentionCases,
  ...waitCases
]

export type { StoreCase, StoresUnderTest } from './case.ts'
