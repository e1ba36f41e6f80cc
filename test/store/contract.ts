import type { Test } from 'tap'
import { claimContract } from './contract-claim.ts'
import { outcomeContract } from './contract-outcome.ts'
import { ownerContract } from './contract-owner.ts'
import { waitContract } from './contract-wait.ts'
import type { MakeStore } from './harness.ts'

/** What every store promises: each sentence of `plugin/store/store.ts`. One after the other, since some move the clock. */
export async function storeContract (t: Test, name: string, make: MakeStore): Promise<void> {
  await t.test(`${name}: claiming a key`, t => claimContract(t, make))
  await t.test(`${name}: renewing, completing and releasing a key`, t => ownerContract(t, make))
  await t.test(`${name}: what is kept of an outcome, and for how long`, t => outcomeContract(t, make))
  await t.test(`${name}: waiting for a key`, t => waitContract(t, make))
}
