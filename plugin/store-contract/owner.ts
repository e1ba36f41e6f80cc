import assert from 'node:assert/strict'
import type { OwnedClaim } from '../store/store.ts'
import { aCase } from './case.ts'
import type { StoreCase, World } from './case.ts'
import { isClaimed, isRecord, isRunning, isSettled, keepsAsItIs } from './checks.ts'
import { aClaim, anOutcome, bringTo, LEASE, own, SHORT_LEASE, STATES } from './fixtures.ts'
import { aWhile, isLeft, isRemembered, leaseRunsOut, timed } from './time.ts'

/** Renewing, completing and releasing a key. */
export const ownerCases: StoreCase[] = [
  aCase(
    'a renewal begins the lease again, and the time until the record is forgotten',
    async ({ store, other, id }) => {
      const owned = await own(store, id)
      await aWhile()
      const renewed = await timed(() => store.renew(id, owned))
      assert.equal(renewed.value, true)
      const refused = await timed(() => other.claim(id, aClaim()))
      assert.ok(refused.value.state === 'running')
      isLeft(refused.value.leaseLeft, LEASE, renewed, refused, 'the renewed lease')
      const found = await timed(() => store.find(id))
      isRemembered(found.value, owned, renewed, found)
      isRecord(found.value, 'running', 1)
    }
  ),

  aCase('a lease that is renewed in time is never taken over', async ({ store, other, id }) => {
    const lease = 500
    const claimed = await timed(() => own(store, id, aClaim({ lease })))
    let renewedAt = claimed.began
    while (performance.now() - claimed.began < 2 * lease) {
      await aWhile()
      const refused = await timed(() => other.claim(id, aClaim()))
      // If the machine stood still for the whole lease, this case did not renew it in time.
      if (refused.value.state === 'claimed' && refused.ended - renewedAt >= lease) return
      isRunning(refused.value)
      const renewed = await timed(() => store.renew(id, claimed.value))
      assert.equal(renewed.value, true)
      renewedAt = renewed.began
    }
  }),

  aCase('a lease that ran out can be renewed as long as nobody took the key over', async ({ store, other, id }) => {
    const lease = 500
    const owned = await own(store, id, aClaim({ lease }))
    await leaseRunsOut(store, id)
    const renewed = await timed(() => store.renew(id, owned))
    assert.equal(renewed.value, true)
    const found = await timed(() => store.find(id))
    isLeft(found.value?.leaseLeft, lease, renewed, found, 'the renewed lease')
    const { state } = await other.claim(id, aClaim())
    const hasRunOut = performance.now() - renewed.began >= lease
    assert.ok(state === 'running' || hasRunOut, `nobody else gets the key before the lease ran out again, got ${state}`)
  }),

  ...STATES.map(state => aCase(
    `nobody but its owner can renew, complete or release a key that is ${state}`,
    async (world) => {
      const { attempt } = await bringTo(state, world)
      // A released record with the same attempt and another owner exists only after a withdrawn claim, which is a
      // different case.
      const stranger = { ...aClaim(), attempt: state === 'released' ? attempt + 1 : attempt }
      await changesNothing(world, stranger)
    }
  )),

  aCase('a late owner cannot change its successor’s run', async (world) => {
    const { store, other, id } = world
    const late = await own(store, id, aClaim({ lease: SHORT_LEASE }))
    await leaseRunsOut(store, id)
    const successor = await own(other, id)
    await changesNothing(world, late)
    assert.equal(await other.complete(id, successor, anOutcome('in time')), true)
    isSettled(await store.claim(id, aClaim()), 2, anOutcome('in time'))
  }),

  aCase('a late owner cannot change its successor’s outcome', async (world) => {
    const { store, other, id } = world
    const late = await own(store, id, aClaim({ lease: SHORT_LEASE }))
    await leaseRunsOut(store, id)
    await other.complete(id, await own(other, id), anOutcome('in time'))
    await changesNothing(world, late)
  }),

  aCase('a late owner cannot change a key that its successor released', async (world) => {
    const { store, other, id } = world
    const late = await own(store, id, aClaim({ lease: SHORT_LEASE }))
    await leaseRunsOut(store, id)
    await other.release(id, await own(other, id))
    await changesNothing(world, late)
  }),

  aCase(
    'an owner whose lease ran out can complete its run as long as nobody took the key over',
    async ({ store, other, id }) => {
      const owned = await own(store, id, aClaim({ lease: SHORT_LEASE }))
      await leaseRunsOut(store, id)
      assert.equal(await store.complete(id, owned, anOutcome()), true)
      isSettled(await other.claim(id, aClaim()), 1, anOutcome())
    }
  ),

  aCase('completing a run twice succeeds twice, and the first outcome stays', async (world) => {
    const { store, other, id } = world
    const owned = await own(store, id)
    assert.equal(await store.complete(id, owned, anOutcome('first')), true)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.complete(id, owned, anOutcome('first')), true)
    await store.complete(id, owned, anOutcome('second'))
    await untouched()
    isSettled(await other.claim(id, aClaim()), 1, anOutcome('first'))
  }),

  aCase('a settled key can neither be renewed nor released', async (world) => {
    const { store, id } = world
    const owned = await bringTo('settled', world)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.renew(id, owned), false)
    assert.equal(await store.release(id, owned), false)
    assert.equal(await store.release(id, { ...owned, attempt: 0 }), false)
    await untouched()
  }),

  aCase('a released key can neither be renewed nor completed', async (world) => {
    const { store, other, id } = world
    const owned = await bringTo('released', world)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.renew(id, owned), false)
    assert.equal(await store.complete(id, owned, anOutcome()), false)
    await untouched()
    isClaimed(await other.claim(id, aClaim()), 2)
  }),

  aCase('releasing a key twice succeeds twice, also if the owner does not know its attempt', async (world) => {
    const { store, id } = world
    const owned = await own(store, id)
    assert.equal(await store.release(id, owned), true)
    isRecord(await store.find(id), 'released', 1)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.release(id, owned), true)
    assert.equal(await store.release(id, { ...owned, attempt: 0 }), true)
    await untouched()
  }),

  aCase(
    'an owner that never got the answer to its claim releases the key, and its attempt stays',
    async ({ store, other, id }) => {
      await store.release(id, await own(store, id))
      const claim = aClaim()
      await own(store, id, claim)
      assert.equal(await store.release(id, { ...claim, attempt: 0 }), true)
      isRecord(await store.find(id), 'released', 2)
      isClaimed(await other.claim(id, aClaim()), 3)
    }
  ),

  aCase('releasing a claim that was never granted leaves no record', async ({ store, id }) => {
    assert.equal(await store.release(id, { ...aClaim(), attempt: 0 }), true)
    assert.equal(await store.find(id), null)
    isClaimed(await store.claim(id, aClaim()), 1)
  })
]

/** Checks that someone who does not have the key can change nothing, in any process, and that the store says so. */
async function changesNothing (world: World, stranger: OwnedClaim): Promise<void> {
  const { store, other, id } = world
  const untouched = await keepsAsItIs(world)
  for (const process of [store, other]) {
    assert.equal(await process.complete(id, stranger, anOutcome('not theirs')), false)
    assert.equal(await process.release(id, stranger), false)
    assert.equal(await process.release(id, { ...stranger, attempt: 0 }), false)
    assert.equal(await process.renew(id, stranger), false)
  }
  await untouched()
}
