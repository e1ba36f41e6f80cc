import assert from 'node:assert/strict'
import { aCase } from './case.ts'
import type { StoreCase } from './case.ts'
import { isClaimed, isRecord, keepsAsItIs } from './checks.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, bringTo, own, SHORT_LEASE, STATES } from './fixtures.ts'
import { isRemembered, leaseRunsOut, timed } from './time.ts'

/** Undoing a claim that let nothing run: an attempt counts only what ran. */
export const withdrawCases: StoreCase[] = [
  aCase('a first claim that is withdrawn leaves nothing behind', async ({ store, other, id }) => {
    const claim = aClaim()
    await own(store, id, claim)
    assert.equal(await store.withdraw(id, claim), true)
    assert.equal(await store.find(id), null)
    isClaimed(await other.claim(id, aClaim({ fingerprint: ANOTHER_REQUEST })), 1, 'also for another request')
  }),

  aCase(
    'a withdrawn claim of a released key does not count: the key has the attempt that it had',
    async ({ store, other, id }) => {
      await store.release(id, await own(store, id))
      await store.release(id, await own(store, id))
      const claim = aClaim()
      isClaimed(await store.claim(id, claim), 3)
      const withdrawn = await timed(() => store.withdraw(id, claim))
      assert.equal(withdrawn.value, true)
      const found = await timed(() => store.find(id))
      isRecord(found.value, 'released', 2)
      isRemembered(found.value, claim, withdrawn, found)
      isClaimed(await other.claim(id, aClaim()), 3)
    }
  ),

  aCase('a withdrawn claim that took over from a crashed owner does not count', async ({ store, other, id }) => {
    await own(store, id, aClaim({ lease: SHORT_LEASE }))
    await leaseRunsOut(store, id)
    const claim = aClaim()
    isClaimed(await other.claim(id, claim), 2)
    assert.equal(await other.withdraw(id, claim), true)
    isRecord(await store.find(id), 'released', 1)
    isClaimed(await store.claim(id, aClaim()), 2)
  }),

  aCase(
    'an owner can complete its run after a claim that took the key over was withdrawn',
    async ({ store, other, id }) => {
      const late = await own(store, id, aClaim({ lease: SHORT_LEASE }))
      await leaseRunsOut(store, id)
      const claim = aClaim()
      isClaimed(await other.claim(id, claim), 2)
      await other.withdraw(id, claim)
      assert.equal(await store.complete(id, late, anOutcome()), true)
      isRecord(await other.find(id), 'settled', 1, anOutcome())
    }
  ),

  aCase('a claim whose lease ran out can be withdrawn as long as nobody took the key over', async ({ store, id }) => {
    const claim = aClaim({ lease: SHORT_LEASE })
    await own(store, id, claim)
    await leaseRunsOut(store, id)
    assert.equal(await store.withdraw(id, claim), true)
    assert.equal(await store.find(id), null)
  }),

  aCase('withdrawing a claim twice, or one that was never granted, changes nothing', async (world) => {
    const { store, id } = world
    const never = aClaim()
    assert.equal(await store.withdraw(id, never), false)
    assert.equal(await store.find(id), null)
    await store.release(id, await own(store, id))
    const claim = aClaim()
    await own(store, id, claim)
    await store.withdraw(id, claim)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.withdraw(id, claim), false)
    await untouched()
  }),

  ...STATES.map(state => aCase(
    `nobody else’s claim can be withdrawn: a key that is ${state} stays as it is`,
    async (world) => {
      await bringTo(state, world)
      const untouched = await keepsAsItIs(world)
      for (const process of [world.store, world.other]) assert.equal(await process.withdraw(world.id, aClaim()), false)
      await untouched()
    }
  )),

  ...(['released', 'settled'] as const).map(state => aCase(
    `an owner cannot withdraw a claim whose run is ${state}`,
    async (world) => {
      const owned = await bringTo(state, world)
      const untouched = await keepsAsItIs(world)
      assert.equal(await world.store.withdraw(world.id, owned), false)
      await untouched()
    }
  )),

  aCase('a withdrawn claim can neither be renewed nor completed once somebody else has the key', async (world) => {
    const { store, other, id } = world
    const claim = aClaim()
    const withdrawn = await own(store, id, claim)
    await store.withdraw(id, claim)
    await own(other, id)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.renew(id, withdrawn), false)
    assert.equal(await store.complete(id, withdrawn, anOutcome()), false)
    assert.equal(await store.withdraw(id, claim), false)
    await untouched()
  })
]
