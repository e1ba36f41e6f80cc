import type { Test } from 'tap'
import { storeContract as cases } from '../../plugin/store-contract/index.ts'
import type { StoresUnderTest } from '../../plugin/store-contract/index.ts'

/** The contract that is exported for other stores, run on two stores of this package. */
export function storeContract (t: Test, name: string, open: (t: Test) => Promise<StoresUnderTest>): void {
  t.test(`${name} keeps the contract of stores`, async (t) => {
    const stores = await open(t)
    // Most of the time these tests wait for a lease to run out, so they may do so together.
    t.jobs = 16
    for (const { name, run } of cases) {
      t.test(name, { buffered: true }, async (t) => {
        await run(stores)
        t.pass('the promise is kept')
      })
    }
  })
}
