import assert from 'node:assert/strict'
import type { OwnedClaim } from '../store/store.ts'
import { aCase } from './case.ts'
import type { StoreCase, World } from './case.ts'
import { isClaimed, isRecord, isRunning, isSettled, keepsAsItIs } from './checks.ts'
import { aClaim, anOutcome, LEASE, own } from './fixtures.ts'
import { isLeft, isRemembered, timed } from './time.ts'

/**
 * Records that the store lost while their owner ran: by a failover, an eviction, an operator. Nobody else has the key.
 */
export const lostCases: StoreCase[] = [
  aCase('the owner of a lost record renews its lease, and has the key as before', async (world) => {
    const { store, other, id } = world
    const owned = await ownAndLose(world)
    const renewed = await timed(() => store.renew(id, owned))
    assert.equal(renewed.value, true)
    const found = await timed(() => store.find(id))
    isRecord(found.value, 'running', 2)
    isLeft(found.value?.leaseLeft, LEASE, renewed, found, 'the lease')
    isRemembered(found.value, owned, renewed, found)
    isRunning(await other.claim(id, aClaim()))
    assert.equal(await store.complete(id, owned, anOutcome()), true)
  }),

  aCase('the owner of a lost record completes its run', async (world) => {
    const { store, other, id } = world
    const owned = await ownAndLose(world)
    assert.equal(await store.complete(id, owned, anOutcome('kept')), true)
    isSettled(await other.claim(id, aClaim()), 2, anOutcome('kept'))
  }),

  aCase('the owner of a lost record releases its key, and the attempt is remembered', async (world) => {
    const { store, other, id } = world
    const owned = await ownAndLose(world)
    assert.equal(await store.release(id, owned), true)
    isRecord(await store.find(id), 'released', 2)
    isClaimed(await other.claim(id, aClaim()), 3)
  }),

  aCase('the owner of a lost record changes nothing once somebody else claimed the key', async (world) => {
    const { store, other, id } = world
    const late = await own(store, id)
    await other.forget(id)
    await own(other, id)
    const untouched = await keepsAsItIs(world)
    assert.equal(await store.renew(id, late), false)
    assert.equal(await store.complete(id, late, anOutcome('late')), false)
    assert.equal(await store.release(id, late), false)
    await untouched()
  })
]

/** Claims the key for a second attempt, and erases the record. */
async function ownAndLose ({ store, other, id }: World): Promise<OwnedClaim> {
  await store.release(id, await own(store, id))
  const owned = await own(store, id)
  assert.equal(await other.forget(id), true)
  return owned
}
