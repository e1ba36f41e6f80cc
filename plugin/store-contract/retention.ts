import assert from 'node:assert/strict'
import type { Store } from '../store/store.ts'
import { aCase } from './case.ts'
import type { StoreCase } from './case.ts'
import { isClaimed, isRecord, isRunning, isSettled } from './checks.ts'
import { aClaim, anOutcome, LEASE, own, RETENTION, SHORT_LEASE } from './fixtures.ts'
import { aWhile, isLeft, isRemembered, leaseRunsOut, timed, until } from './time.ts'
import type { Span } from './time.ts'

/** Milliseconds: a retention that ends during a case. */
const SHORT_RETENTION = 300

/** How long a record is kept, and what an operator sees of it. */
export const retentionCases: StoreCase[] = [
  aCase('an outcome is kept for its retention, counted from its completion', async ({ store, other, id }) => {
    const owned = await own(store, id, aClaim({ retention: SHORT_RETENTION }))
    await aWhile()
    const completed = await timed(() => store.complete(id, owned, anOutcome()))
    const found = await timed(() => store.find(id))
    isLeft(found.value?.expiresIn ?? 0, SHORT_RETENTION, completed, found, 'the time until it is forgotten')
    await isForgottenAfter(SHORT_RETENTION, other, id, completed)
    isClaimed(await other.claim(id, aClaim()), 1, 'the key is new again')
  }),

  aCase('a replay does not prolong the retention', async ({ store, other, id }) => {
    const owned = await own(store, id)
    const completed = await timed(() => store.complete(id, owned, anOutcome()))
    await aWhile()
    isSettled(await other.claim(id, aClaim()), 1, anOutcome())
    const found = await timed(() => store.find(id))
    isLeft(found.value?.expiresIn, RETENTION, completed, found, 'the time until it is forgotten')
  }),

  aCase('a released key remembers its attempt for the retention, counted from the release', async ({ store, id }) => {
    const owned = await own(store, id, aClaim({ lease: SHORT_LEASE, retention: SHORT_RETENTION }))
    await aWhile()
    const released = await timed(() => store.release(id, owned))
    const found = await timed(() => store.find(id))
    // A machine that stood still for the retention may find nothing.
    const mayBeForgotten = found.ended - released.began >= SHORT_RETENTION
    if (found.value !== null || !mayBeForgotten) isRecord(found.value, 'released', 1)
    isRemembered(found.value, owned, released, found)
    await isForgottenAfter(SHORT_RETENTION, store, id, released)
  }),

  aCase('a retention shorter than the lease does not cut the lease short', async ({ store, other, id }) => {
    const retention = SHORT_LEASE
    const claimed = await timed(() => own(store, id, aClaim({ retention })))
    const owned = claimed.value
    await aWhile()
    const refused = await timed(() => other.claim(id, aClaim()))
    assert.ok(refused.value.state === 'running')
    isLeft(refused.value.leaseLeft, LEASE, claimed, refused, 'the rest of the lease')
    assert.equal(await store.renew(id, owned), true)
    await aWhile()
    isRunning(await other.claim(id, aClaim()), 'nor a renewed one')
    const completed = await timed(() => store.complete(id, owned, anOutcome()))
    assert.equal(completed.value, true)
    await isForgottenAfter(retention, store, id, completed)
  }),

  aCase('an operator sees nothing for a key that nobody used', async ({ store, id }) => {
    assert.equal(await store.find(id), null)
    assert.equal(await store.forget(id), false)
  }),

  aCase('an operator sees a running key, and what is left of its lease', async ({ store, other, id }) => {
    const claimed = await timed(() => own(store, id))
    await aWhile()
    const found = await timed(() => other.find(id))
    isRecord(found.value, 'running', 1)
    isLeft(found.value?.leaseLeft, LEASE, claimed, found, 'the rest of the lease')
    isRemembered(found.value, claimed.value, claimed, found)
  }),

  aCase(
    'an operator sees a key as running, with no time left, if its owner’s lease ran out',
    async ({ store, other, id }) => {
      await own(store, id, aClaim({ lease: SHORT_LEASE }))
      await leaseRunsOut(store, id)
      const found = await other.find(id)
      isRecord(found, 'running', 1)
      assert.equal(found?.leaseLeft, 0)
    }
  ),

  aCase('an operator sees a released and a settled key, which have no lease', async ({ store, other, id }) => {
    await store.release(id, await own(store, id))
    isRecord(await other.find(id), 'released', 1)
    await store.complete(id, await own(store, id), anOutcome('seen', 404))
    isRecord(await other.find(id), 'settled', 2, anOutcome('seen', 404))
  }),

  ...(['running', 'released', 'settled'] as const).map(state => aCase(
    `an operator erases a key that is ${state}, once`,
    async ({ store, other, id }) => {
      const owned = await own(store, id)
      if (state === 'released') await store.release(id, owned)
      if (state === 'settled') await store.complete(id, owned, anOutcome())
      assert.equal(await other.forget(id), true)
      assert.equal(await store.find(id), null)
      assert.equal(await other.forget(id), false)
    }
  ))
]

/** Checks that the record exists for at least `milliseconds` after that call, and is forgotten some time later. */
async function isForgottenAfter (milliseconds: number, store: Store, id: string, call: Span): Promise<void> {
  await until(async () => await store.find(id) === null, 'the record is forgotten')
  // A store may be wrong by a millisecond, since it rounds.
  const kept = performance.now() - call.began
  assert.ok(kept >= milliseconds - 2, `the record is kept for ${milliseconds} ms, got ${kept}`)
}
