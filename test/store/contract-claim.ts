import type { Test } from 'tap'
import { aClaim, ANOTHER_REQUEST, anOutcome, bringTo, ID, isAbout, isRemembered, keepsAsItIs, LEASE, own, STATES } from './harness.ts'
import type { MakeStore } from './harness.ts'

export async function claimContract (t: Test, make: MakeStore): Promise<void> {
  await t.test('a key that nobody used is granted, with attempt 1', async (t) => {
    const { store } = await make(t)
    t.strictSame(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
  })

  await t.test('keys are told apart', async (t) => {
    const { store } = await make(t)
    await own(store, aClaim(), 'one')
    t.strictSame(await store.claim('another', aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'claimed', attempt: 1 })
  })

  await t.test('a running key is refused for as long as its lease lasts, and says how long that is', async (t) => {
    const under = await make(t)
    const { store, other, pass } = under
    await own(store)
    await pass(ID, 20_000)
    const untouched = await keepsAsItIs(t, under)
    const result = await other.claim(ID, aClaim())
    t.equal(result.state, 'running')
    if (result.state === 'running') isAbout(t, result.leaseLeft, LEASE, 25_000, 'the rest of the lease')
    await untouched()
  })

  await t.test('a lease that ran out lets the next claim take over, with attempt 2 and a lease of its own', async (t) => {
    const { store, other, expireLease } = await make(t)
    await own(store)
    await expireLease(ID)
    t.strictSame(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 2 })
    const found = await store.find(ID)
    isAbout(t, found?.leaseLeft, LEASE)
    isRemembered(t, found)
    t.match(await store.claim(ID, aClaim()), { state: 'running' }, 'the next one is refused again')
  })

  await t.test('of many that take over at once, one is granted the key', async (t) => {
    const { store, other, expireLease } = await make(t)
    await own(store)
    await expireLease(ID)
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? store : other).claim(ID, aClaim())))
    t.strictSame(results.filter(({ state }) => state === 'claimed'), [{ state: 'claimed', attempt: 2 }])
    t.equal(results.filter(({ state }) => state === 'running').length, 19)
  })

  await t.test('a released key is granted at once, with the next attempt', async (t) => {
    const { store, other } = await make(t)
    const owned = await own(store)
    t.equal(await store.release(ID, owned), true)
    t.strictSame(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 2 })
  })

  await t.test('a settled key answers with its outcome, and runs no more', async (t) => {
    const under = await make(t)
    const { store, other } = under
    await store.complete(ID, await own(store), anOutcome('done', 200))
    const untouched = await keepsAsItIs(t, under)
    t.strictSame(await other.claim(ID, aClaim()), { state: 'settled', attempt: 1, outcome: anOutcome('done', 200) })
    await untouched()
  })

  await t.test('an outcome tells which attempt it came from', async (t) => {
    const { store } = await make(t)
    await store.release(ID, await own(store))
    await store.complete(ID, await own(store), anOutcome())
    t.match(await store.claim(ID, aClaim()), { state: 'settled', attempt: 2 })
    t.match(await store.find(ID), { state: 'settled', attempt: 2 })
  })

  await t.test('attempts only grow, whether a run was released or its lease ran out', async (t) => {
    const { store, expireLease } = await make(t)
    const attempts: number[] = []
    for (let i = 0; i < 6; i++) {
      const owned = await own(store)
      attempts.push(owned.attempt)
      if (i % 2 === 0) await store.release(ID, owned)
      else await expireLease(ID)
    }
    t.strictSame(attempts, [1, 2, 3, 4, 5, 6])
  })

  await t.test('a retry after a crash is told of the earlier attempt, also where the retention is shorter than the lease', async (t) => {
    const { store, other, pass } = await make(t)
    await own(store, aClaim({ lease: 30_000, retention: 10_000 }))
    await pass(ID, 30_000)
    t.strictSame(await other.claim(ID, aClaim({ lease: 30_000, retention: 10_000 })), { state: 'claimed', attempt: 2 })
  })

  await t.test('a claim whose answer was lost is granted again when it is sent again, as the same attempt', async (t) => {
    const { store, other, expireLease } = await make(t)
    const claim = aClaim()
    await own(store, claim)
    t.strictSame(await store.claim(ID, claim), { state: 'claimed', attempt: 1 })
    await expireLease(ID)
    t.strictSame(await store.claim(ID, claim), { state: 'claimed', attempt: 1 }, 'also when its lease ran out meanwhile')
    const successor = aClaim()
    await own(other, successor)
    t.strictSame(await other.claim(ID, successor), { state: 'claimed', attempt: 2 }, 'also one that took over')
    t.match(await store.claim(ID, claim), { state: 'running' }, 'but not when somebody else has the key by now')
  })

  await t.test('the lease and the retention of the owner count, not those of who asks', async (t) => {
    const { store, other, pass } = await make(t)
    await own(store, aClaim({ lease: 60_000, retention: 900_000 }))
    await pass(ID, 40_000)
    t.match(await other.claim(ID, aClaim({ lease: 10_000, retention: 50_000 })), { state: 'running' }, 'a shorter lease takes nothing over')
    await pass(ID, 20_000)
    t.strictSame(await other.claim(ID, aClaim({ lease: 10_000, retention: 50_000 })), { state: 'claimed', attempt: 2 })
    await pass(ID, 10_000)
    t.strictSame(await store.claim(ID, aClaim({ lease: 60_000, retention: 900_000 })), { state: 'claimed', attempt: 3 }, 'a longer one does not wait')
  })

  for (const state of STATES) {
    await t.test(`another request with the key of one that is ${state} is told so, and changes nothing`, async (t) => {
      const under = await make(t)
      const owned = await bringTo(state, under)
      const untouched = await keepsAsItIs(t, under)
      t.strictSame(await under.other.claim(ID, aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
      t.strictSame(await under.store.claim(ID, aClaim({ fingerprint: ANOTHER_REQUEST, owner: owned.owner })), { state: 'mismatch' })
      await untouched()
    })
  }

  await t.test('fingerprints and owners that differ in one character are different', async (t) => {
    const { store } = await make(t)
    const claim = aClaim()
    const owned = await own(store, claim)
    const otherOwner = `${claim.owner.slice(0, -1)}_`
    const otherFingerprint = `_${claim.fingerprint.slice(1)}`
    t.match(await store.claim(ID, { ...claim, fingerprint: otherFingerprint }), { state: 'mismatch' })
    t.match(await store.claim(ID, { ...claim, owner: otherOwner }), { state: 'running' })
    t.equal(await store.renew(ID, { ...owned, owner: otherOwner }), false)
    t.equal(await store.complete(ID, { ...owned, owner: otherOwner }, anOutcome()), false)
    t.equal(await store.release(ID, { ...owned, owner: otherOwner }), false)
  })

  await t.test('a key that was forgotten is new again', async (t) => {
    const { store, other, expireRecord } = await make(t)
    await store.complete(ID, await own(store), anOutcome())
    t.equal(await other.forget(ID), true)
    t.strictSame(await store.claim(ID, aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'claimed', attempt: 1 })
    await expireRecord(ID)
    t.strictSame(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 }, 'also one whose time is over')
  })
}
