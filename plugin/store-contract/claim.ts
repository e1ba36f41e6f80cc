import assert from 'node:assert/strict'
import type { ClaimResult } from '../store/store.ts'
import { aCase, newId } from './case.ts'
import type { StoreCase, World } from './case.ts'
import { isClaimed, isMismatch, isRecord, isRunning, isSettled, keepsAsItIs } from './checks.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, bringTo, LEASE, own, RETENTION, SHORT_LEASE, STATES } from './fixtures.ts'
import { aWhile, isLeft, isRemembered, leaseRunsOut, timed, until } from './time.ts'

/** Claiming a key. */
export const claimCases: StoreCase[] = [
  aCase('a key that nobody used is granted, with attempt 1', async ({ store, id }) => {
    isClaimed(await store.claim(id, aClaim()), 1)
  }),

  aCase('keys are told apart', async ({ store, id }) => {
    await own(store, newId())
    isClaimed(await store.claim(id, aClaim({ fingerprint: ANOTHER_REQUEST })), 1)
  }),

  aCase('of many that claim a new key at once, one is granted it', async ({ store, other, id }) => {
    const results = await claimTwentyTimes({ store, other, id })
    assert.deepEqual(results.filter(({ state }) => state === 'claimed'), [{ state: 'claimed', attempt: 1 }])
    assert.equal(results.filter(({ state }) => state === 'running').length, 19)
  }),

  aCase('a running key is refused for as long as its lease lasts, and says how long that is', async (world) => {
    const { store, other, id } = world
    const claimed = await timed(() => own(store, id))
    const untouched = await keepsAsItIs(world)
    const refused = await timed(() => other.claim(id, aClaim()))
    assert.ok(refused.value.state === 'running', `the key is refused, got ${refused.value.state}`)
    isLeft(refused.value.leaseLeft, LEASE, claimed, refused, 'the rest of the lease')
    await untouched()
  }),

  aCase(
    'a lease that ran out lets the next claim take over, with attempt 2 and a lease of its own',
    async ({ store, other, id }) => {
      await own(store, id, aClaim({ lease: SHORT_LEASE }))
      await leaseRunsOut(store, id)
      const successor = aClaim()
      const claimed = await timed(() => other.claim(id, successor))
      isClaimed(claimed.value, 2)
      const found = await timed(() => store.find(id))
      isLeft(found.value?.leaseLeft, LEASE, claimed, found, 'the new lease')
      isRemembered(found.value, successor, claimed, found)
      isRunning(await store.claim(id, aClaim()), 'the next one is refused again')
    }
  ),

  aCase('a lease is not taken over before it ran out', async ({ store, other, id }) => {
    const lease = 300
    const claimed = await timed(() => own(store, id, aClaim({ lease })))
    let tookOver = NaN
    await until(async () => {
      const { state } = await other.claim(id, aClaim())
      tookOver = performance.now()
      return state === 'claimed'
    }, 'the key is taken over')
    // A store may be wrong by a millisecond, since it rounds.
    assert.ok(tookOver - claimed.began >= lease - 2, `it lasted for its ${lease} ms, got ${tookOver - claimed.began}`)
  }),

  aCase('of many that take over at once, one is granted the key', async ({ store, other, id }) => {
    await own(store, id, aClaim({ lease: SHORT_LEASE }))
    await leaseRunsOut(store, id)
    const results = await claimTwentyTimes({ store, other, id })
    assert.deepEqual(results.filter(({ state }) => state === 'claimed'), [{ state: 'claimed', attempt: 2 }])
    assert.equal(results.filter(({ state }) => state === 'running').length, 19)
  }),

  aCase('a released key is granted at once, with the next attempt', async ({ store, other, id }) => {
    assert.equal(await store.release(id, await own(store, id)), true)
    isClaimed(await other.claim(id, aClaim()), 2)
  }),

  aCase('a settled key is answered with its outcome, and nothing runs', async (world) => {
    const { store, other, id } = world
    await store.complete(id, await own(store, id), anOutcome('done', 200))
    const untouched = await keepsAsItIs(world)
    isSettled(await other.claim(id, aClaim()), 1, anOutcome('done', 200))
    await untouched()
  }),

  aCase('an outcome has the number of the attempt that it came from', async ({ store, id }) => {
    await store.release(id, await own(store, id))
    await store.complete(id, await own(store, id), anOutcome())
    isSettled(await store.claim(id, aClaim()), 2, anOutcome())
    isRecord(await store.find(id), 'settled', 2, anOutcome())
  }),

  aCase('attempts only grow, whether a run was released or its lease ran out', async ({ store, id }) => {
    const attempts: number[] = []
    for (let i = 0; i < 6; i++) {
      const owned = await own(store, id, aClaim({ lease: i % 2 === 0 ? LEASE : SHORT_LEASE }))
      attempts.push(owned.attempt)
      if (i % 2 === 0) await store.release(id, owned)
      else await leaseRunsOut(store, id)
    }
    assert.deepEqual(attempts, [1, 2, 3, 4, 5, 6])
  }),

  aCase('a retry after a crash has attempt 2, even if the retention is short', async ({ store, other, id }) => {
    const claim = { lease: 1_000, retention: 900 }
    const crashed = await timed(() => own(store, id, aClaim(claim)))
    await leaseRunsOut(store, id)
    const retry = await timed(() => other.claim(id, aClaim(claim)))
    // On a machine that stood still for the retention too, there may be nothing left to remember.
    const mayBeForgotten = retry.ended - crashed.began >= claim.lease + claim.retention
    const isForgotten = retry.value.state === 'claimed' && retry.value.attempt === 1
    isClaimed(retry.value, mayBeForgotten && isForgotten ? 1 : 2)
  }),

  aCase('a claim whose answer was lost is granted again, as the same attempt', async ({ store, other, id }) => {
    const claim = aClaim({ lease: SHORT_LEASE })
    await own(store, id, claim)
    isClaimed(await store.claim(id, claim), 1)
    await leaseRunsOut(store, id)
    isClaimed(await store.claim(id, claim), 1, 'also when its lease ran out meanwhile')
    await leaseRunsOut(store, id)
    const successor = aClaim()
    await own(other, id, successor)
    isClaimed(await other.claim(id, successor), 2, 'also one that took over')
    isRunning(await store.claim(id, claim), 'but not once somebody else has the key')
  }),

  aCase('the lease and the retention of the owner count, not those of a later claim', async ({ store, other, id }) => {
    await own(store, id)
    await aWhile()
    isRunning(await other.claim(id, aClaim({ lease: 1, retention: 1 })), 'a shorter lease takes nothing over')
    const shorter = newId()
    await own(store, shorter, aClaim({ lease: SHORT_LEASE, retention: RETENTION / 2 }))
    await leaseRunsOut(store, shorter)
    isClaimed(await other.claim(shorter, aClaim()), 2, 'a longer one does not wait')
  }),

  ...STATES.map(state => aCase(
    `a claim by another request of a key that is ${state} is a mismatch, and changes nothing`,
    async (world) => {
      const { store, other, id } = world
      const owned = await bringTo(state, world)
      const untouched = await keepsAsItIs(world)
      isMismatch(await other.claim(id, aClaim({ fingerprint: ANOTHER_REQUEST })))
      isMismatch(await store.claim(id, aClaim({ fingerprint: ANOTHER_REQUEST, owner: owned.owner })))
      await untouched()
    }
  )),

  aCase('fingerprints and owners that differ in one character are different', async ({ store, id }) => {
    const claim = aClaim()
    const owned = await own(store, id, claim)
    const stranger = { ...owned, owner: `${claim.owner.slice(0, -1)}_` }
    isMismatch(await store.claim(id, { ...claim, fingerprint: `_${claim.fingerprint.slice(1)}` }))
    isRunning(await store.claim(id, { ...claim, owner: stranger.owner }))
    assert.equal(await store.renew(id, stranger), false)
    assert.equal(await store.complete(id, stranger, anOutcome()), false)
    assert.equal(await store.release(id, stranger), false)
  }),

  aCase('a key that was forgotten is new again', async ({ store, other, id }) => {
    await store.complete(id, await own(store, id), anOutcome())
    assert.equal(await other.forget(id), true)
    const short = { lease: SHORT_LEASE, retention: SHORT_LEASE }
    isClaimed(await store.claim(id, aClaim({ fingerprint: ANOTHER_REQUEST, ...short })), 1)
    await until(async () => await store.find(id) === null, 'the record of a crashed run is forgotten')
    isClaimed(await store.claim(id, aClaim()), 1, 'also one whose time is over')
  })
]

/** Sends twenty claims of one key at the same time, half of them from the other process. */
async function claimTwentyTimes ({ store, other, id }: Pick<World, 'store' | 'other' | 'id'>): Promise<ClaimResult[]> {
  const stores = Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? store : other)
  return Promise.all(stores.map(store => store.claim(id, aClaim())))
}
