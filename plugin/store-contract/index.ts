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
 * What every store must do, as cases for any test runner. The cases cover each sentence of the `Store` interface:
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
 * `store` and `other` are two instances with the same records, each with a connection of its own. For a store whose
 * records never leave the process, pass the same instance twice. The cases use only random keys, so one pair of
 * instances is enough for all cases.
 *
 * The cases use no mocks: leases and retentions are short and run out on the store's own clock, and a store may report
 * their remaining time with an error of up to 20 ms. No case needs a fast machine or database: every limit is measured
 * from the beginning of a call to its answer. All cases together take about ten seconds one after the other, and about
 * one second at the same time.
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
