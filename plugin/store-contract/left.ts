import assert from 'node:assert/strict'
import type { ClaimResult } from '../store/store.ts'
import { aCase } from './case.ts'
import type { StoreCase } from './case.ts'
import { isClaimed, isRecord, isSettled, keepsAsItIs } from './checks.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, bringTo, LEASE, own, SHORT_LEASE, STATES } from './fixtures.ts'
import { isLeft, leaseRunsOut, timed } from './time.ts'

/** Claims that may not take over, and owners whose client has left. */
export const leftCases: StoreCase[] = [
  aCase('a duplicate learns whether the owner’s client has left', async ({ store, other, id }) => {
    const owned = await own(store, id)
    isRunning(await other.claim(id, aClaim()), false)
    assert.equal(await store.markLeft(id, owned), true)
    for (const process of [store, other]) isRunning(await process.claim(id, aClaim()), true)
    assert.deepEqual(await other.claim(id, aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
  }),

  aCase('noting that the owner’s client has left changes nothing else, and happens once', async (world) => {
    const { store, id } = world
    const claimed = await timed(() => own(store, id))
    await store.markLeft(id, claimed.value)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.markLeft(id, claimed.value), true)
    await untouched()
    const refused = await timed(() => store.claim(id, aClaim()))
    isLeft(isRunning(refused.value, true), LEASE, claimed, refused, 'the rest of the lease')
    isClaimed(await store.claim(id, claimed.value), 1, 'the owner still has the key')
  }),

  aCase(
    'it is still known that the owner’s client has left after the owner renewed its lease',
    async ({ store, other, id }) => {
      const owned = await own(store, id)
      await store.markLeft(id, owned)
      assert.equal(await store.renew(id, owned), true)
      isRunning(await other.claim(id, aClaim()), true)
    }
  ),

  aCase('an owner whose client has left completes its run like any other', async ({ store, other, id }) => {
    const owned = await own(store, id)
    await store.markLeft(id, owned)
    assert.equal(await store.complete(id, owned, anOutcome()), true)
    isSettled(await other.claim(id, aClaim()), 1, anOutcome())
    assert.equal(await store.markLeft(id, owned), false, 'a settled key has no owner whose client could leave')
  }),

  aCase(
    'after an owner whose client has left released its key, the next owner’s client is connected',
    async ({ store, other, id }) => {
      const owned = await own(store, id)
      await store.markLeft(id, owned)
      assert.equal(await store.release(id, owned), true)
      isRecord(await store.find(id), 'released', 1)
      await own(other, id)
      isRunning(await store.claim(id, aClaim()), false)
    }
  ),

  aCase(
    'after a takeover from an owner whose client has left, the new owner’s client is connected',
    async ({ store, other, id }) => {
      const owned = await own(store, id, aClaim({ lease: SHORT_LEASE }))
      await store.markLeft(id, owned)
      await leaseRunsOut(store, id)
      await own(other, id)
      isRunning(await store.claim(id, aClaim()), false)
      assert.equal(await store.markLeft(id, owned), false, 'a late owner cannot note it')
      isRunning(await store.claim(id, aClaim()), false)
    }
  ),

  ...STATES.map(state => aCase(
    `nobody but the owner can note that its client has left: a key that is ${state} stays as it is`,
    async (world) => {
      const stranger = { ...aClaim(), attempt: (await bringTo(state, world)).attempt }
      const untouched = await keepsAsItIs(world)
      for (const process of [world.store, world.other]) assert.equal(await process.markLeft(world.id, stranger), false)
      await untouched()
    }
  )),

  aCase('it cannot be noted that a client has left if nobody has the key', async ({ store, id }) => {
    assert.equal(await store.markLeft(id, { ...aClaim(), attempt: 1 }), false)
    assert.equal(await store.find(id), null)
  }),

  aCase('a claim that may not take over learns that the lease ran out, and the owner keeps the key', async (world) => {
    const { store, other, id } = world
    const owned = await bringTo('running out of lease', world)
    const untouched = await keepsAsItIs(world)
    const result = await other.claim(id, aClaim({ takeOver: false }))
    assert.deepEqual(result, { state: 'running', leaseLeft: 0, ownerLeft: false })
    await untouched()
    await store.markLeft(id, owned)
    isRunning(await other.claim(id, aClaim({ takeOver: false })), true)
    assert.equal(await store.complete(id, owned, anOutcome()), true)
    isSettled(await other.claim(id, aClaim({ takeOver: false })), 1, anOutcome())
  }),

  aCase('a claim that may not take over is granted a new or a released key', async ({ store, other, id }) => {
    const owned = await own(store, id, aClaim({ takeOver: false }))
    await store.release(id, owned)
    isClaimed(await other.claim(id, aClaim({ takeOver: false })), 2)
  })
]

/** Returns what is left of the lease. */
function isRunning (result: ClaimResult, ownerLeft: boolean): number {
  assert.ok(result.state === 'running', `the key is running, got ${result.state}`)
  assert.equal(result.ownerLeft, ownerLeft, 'whether the owner’s client has left')
  return result.leaseLeft
}
