import assert from 'node:assert/strict'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Claim, ClaimResult, Store } from '../store/store.ts'
import { aCase, newId } from './case.ts'
import type { StoreCase, World } from './case.ts'
import { isClaimed, isRunning, isSettled } from './checks.ts'
import { aClaim, anOutcome, bringTo, own, SHORT_LEASE } from './fixtures.ts'
import { leaseRunsOut, soon, until } from './time.ts'

/** Milliseconds: longer than a case may take. A wait that lasts so long was not woken. */
const FOREVER = 600_000
/** Milliseconds that waiters get to begin their wait, if the case cannot see whether they have begun. */
const HEAD_START = 100

/** Waiting for a key. */
export const waitCases: StoreCase[] = [
  aCase('a waiting duplicate gets the outcome as soon as another process completes the run', async (world) => {
    const { store, other, id } = world
    const owned = await own(store, id)
    const duplicate = claimUntilFree(world, other)
    await isAwaited(world)
    await store.complete(id, owned, anOutcome('awaited'))
    isSettled(await soon(duplicate, 'the duplicate is answered'), 1, anOutcome('awaited'))
  }),

  aCase('a waiting duplicate runs as soon as another process releases the key', async (world) => {
    const { store, other, id } = world
    const owned = await own(store, id)
    const duplicate = claimUntilFree(world, other)
    await isAwaited(world)
    await store.release(id, owned)
    isClaimed(await soon(duplicate, 'the duplicate runs'), 2)
  }),

  aCase('a waiting duplicate claims again as soon as a claim is withdrawn', async (world) => {
    const { store, other, id } = world
    const claim = aClaim()
    await own(store, id, claim)
    const duplicate = claimUntilFree(world, other)
    await isAwaited(world)
    await store.withdraw(id, claim)
    isClaimed(await soon(duplicate, 'the duplicate runs'), 1)
  }),

  aCase('a waiting duplicate wakes as soon as the owner’s client has left, and can wait again', async (world) => {
    const { store, other, id } = world
    const owned = await own(store, id)
    const { woken } = await beginToWait(world)
    await store.markLeft(id, owned)
    await soon(woken, 'the waiter is woken')
    const duplicate = claimUntilFree(world, other)
    await isAwaited(world)
    await store.complete(id, owned, anOutcome())
    isSettled(await soon(duplicate, 'the duplicate is answered'), 1, anOutcome())
  }),

  aCase('a duplicate in the owner’s own process is woken as well', async (world) => {
    const { store, id } = world
    const owned = await own(store, id)
    const duplicate = claimUntilFree(world, store)
    await isAwaited(world)
    await store.complete(id, owned, anOutcome())
    isSettled(await soon(duplicate, 'the duplicate is answered'), 1, anOutcome())
  }),

  aCase('all waiters of a key are woken, in each process', async (world) => {
    const { store, other, id } = world
    const owned = await own(store, id)
    const duplicates = Array.from({ length: 50 }, (_, i) => claimUntilFree(world, i % 2 === 0 ? store : other))
    await isAwaited(world)
    await store.complete(id, owned, anOutcome('for all'))
    const results = await soon(Promise.all(duplicates), 'all duplicates are answered')
    assert.equal(results.length, 50)
    for (const result of results) isSettled(result, 1, anOutcome('for all'))
  }),

  aCase('when a key is released, one of many waiters runs and the others wait for that one', async (world) => {
    const { store, other, id } = world
    const owned = await own(store, id)
    const attempts: number[] = []
    const duplicates = Array.from({ length: 10 }, async (_, i) => {
      const process = i % 2 === 0 ? store : other
      const claim = aClaim()
      const result = await claimUntilFree(world, process, claim)
      if (result.state !== 'claimed') return result
      attempts.push(result.attempt)
      await process.complete(id, { ...claim, attempt: result.attempt }, anOutcome('the second run’s'))
      return process.claim(id, aClaim())
    })
    await isAwaited(world)
    await store.release(id, owned)
    for (const result of await soon(Promise.all(duplicates), 'all duplicates are answered')) {
      isSettled(result, 2, anOutcome('the second run’s'))
    }
    assert.deepEqual(attempts, [2], 'one more run')
  }),

  aCase('a waiter that began to wait for a crashed owner is woken by its successor', async (world) => {
    const { store, other, id } = world
    await own(store, id, aClaim({ lease: SHORT_LEASE }))
    const { woken } = await beginToWait(world)
    await leaseRunsOut(store, id)
    const successor = await own(store, id)
    await store.complete(id, successor, anOutcome('the successor’s'))
    await soon(woken, 'the waiter is woken')
    isSettled(await other.claim(id, aClaim()), 2, anOutcome('the successor’s'))
  }),

  aCase('a waiter that begins to wait after the key changed its owner is woken too', async (world) => {
    const { store, other, id, ended } = world
    const first = endingWith(ended)
    await own(store, id, aClaim({ lease: SHORT_LEASE }))
    const { woken: gaveUp } = await beginToWait({ ...world, ended: first.signal })
    await leaseRunsOut(store, id)
    const second = await own(store, id)
    first.abort()
    await soon(gaveUp, 'the wait ends when its signal aborts')
    await store.release(id, second)
    const third = await own(store, id)
    const { woken } = await beginToWait(world)
    await store.complete(id, third, anOutcome('the third run’s'))
    await soon(woken, 'the waiter is woken')
    isSettled(await other.claim(id, aClaim()), 3, anOutcome('the third run’s'))
  }),

  ...(['complete', 'release', 'renew and complete'] as const).map(end => aCase(
    `a waiter is woken by an owner that lost its record and calls ${end}`,
    async (world) => {
      const { store, id } = world
      const owned = await own(store, id)
      // The first wait opens the connection for wake-ups, which may wake waiters without a reason. This case begins
      // after that, so that only the owner can wake its waiter.
      const otherId = newId()
      const earlier = await own(store, otherId)
      const warm = await beginToWait({ ...world, id: otherId })
      await store.complete(otherId, earlier, anOutcome())
      await soon(warm.woken, 'the waiter of another key is woken')
      const { woken } = await beginToWait(world)
      assert.equal(await store.forget(id), true)
      if (end === 'renew and complete') await store.renew(id, owned)
      if (end === 'release') await store.release(id, owned)
      else await store.complete(id, owned, anOutcome())
      await soon(woken, 'the waiter is woken')
    }
  )),

  ...(['released', 'settled'] as const).map(state => aCase(`nobody waits for a key that is ${state}`, async (world) => {
    await bringTo(state, world)
    await soon(world.other.wait(world.id, FOREVER, world.ended), 'it does not wait')
  })),

  aCase('nobody waits for a key that nobody has', async ({ other, id, ended }) => {
    await soon(other.wait(id, FOREVER, ended), 'it does not wait')
  }),

  aCase('a wait ends after its timeout, and the owner keeps the key', async ({ store, other, id, ended }) => {
    const owned = await own(store, id)
    await soon(other.wait(id, 20, ended), 'it waits for 20 ms')
    isRunning(await other.claim(id, aClaim()))
    assert.equal(await store.complete(id, owned, anOutcome()), true)
  }),

  aCase('a wait with an aborted signal ends at once', async ({ store, other, id }) => {
    await own(store, id)
    await soon(other.wait(id, FOREVER, AbortSignal.abort()), 'it does not wait')
  }),

  aCase('a wait ends at once when its signal aborts, and other waiters go on waiting', async (world) => {
    const { store, other, id, ended } = world
    const owned = await own(store, id)
    const leaving = endingWith(ended)
    const leaver = claimUntilFree({ ...world, ended: leaving.signal }, other)
    let stayed = false
    const stayer = claimUntilFree(world, other).finally(() => { stayed = true })
    await isAwaited(world)
    leaving.abort()
    isRunning(await soon(leaver, 'the waiter whose signal aborted is answered'))
    assert.equal(stayed, false)
    await store.complete(id, owned, anOutcome())
    isSettled(await soon(stayer, 'the other waiter is answered'), 1, anOutcome())
  })
]

/** What a waiting duplicate does: it claims, and as long as somebody else has the key, it waits and claims again. */
async function claimUntilFree ({ id, ended }: World, store: Store, claim: Claim = aClaim()): Promise<ClaimResult> {
  for (;;) {
    const result = await store.claim(id, claim)
    if (result.state !== 'running' || ended.aborted) return result
    await store.wait(id, FOREVER, ended)
    // A store may wake without a reason, and even at once. Other tasks must get their turn.
    await setImmediate()
  }
}

/**
 * Begins a wait in the other process, and resolves once the store knows of it, or can be expected to know. A store may
 * wake a waiter too early while it is still connecting. Then this begins another wait.
 */
async function beginToWait (world: World): Promise<{ woken: Promise<void> }> {
  const { other, id, ended } = world
  for (;;) {
    let isOver = false
    const woken = other.wait(id, FOREVER, ended).then(() => { isOver = true })
    if (world.isAwaited === undefined) await setTimeout(HEAD_START)
    else await until(async () => isOver || await world.isAwaited?.(id) === true, 'the store knows that somebody waits')
    if (!isOver || world.isAwaited === undefined) return { woken }
  }
}

/** Resolves once the store knows that somebody waits for the key, or can be expected to know. */
async function isAwaited ({ id, isAwaited }: World): Promise<void> {
  if (isAwaited === undefined) await setTimeout(HEAD_START)
  else await until(() => isAwaited(id), 'the store knows that somebody waits')
}

/** An AbortController for a waiter that may give up. It aborts at the end of the case at the latest. */
function endingWith (ended: AbortSignal): AbortController {
  const controller = new AbortController()
  ended.addEventListener('abort', () => controller.abort())
  return controller
}
