import type { Test } from 'tap'
import type { ClaimResult, Store } from '../../plugin/store/store.ts'
import { until } from '../helper.ts'
import { aClaim, anOutcome, bringTo, ID, own } from './harness.ts'
import type { MakeStore } from './harness.ts'

/** Longer than a test may take: who waits for it was not woken. */
const FOREVER = 600_000

export async function waitContract (t: Test, make: MakeStore): Promise<void> {
  await t.test('a waiting duplicate gets the outcome as soon as another process settles the key', async (t) => {
    const { store, other, isAwaited } = await make(t)
    const owned = await own(store)
    const duplicate = claimUntilFree(other)
    await until(() => isAwaited(ID))
    await store.complete(ID, owned, anOutcome('awaited'))
    t.match(await duplicate, { state: 'settled', outcome: anOutcome('awaited') })
  })

  await t.test('a waiting duplicate runs as soon as another process releases the key', async (t) => {
    const { store, other, isAwaited } = await make(t)
    const owned = await own(store)
    const duplicate = claimUntilFree(other)
    await until(() => isAwaited(ID))
    await store.release(ID, owned)
    t.strictSame(await duplicate, { state: 'claimed', attempt: 2 })
  })

  await t.test('a duplicate in the owner’s own process is woken as well', async (t) => {
    const { store, isAwaited } = await make(t)
    const owned = await own(store)
    const duplicate = claimUntilFree(store)
    await until(() => isAwaited(ID))
    await store.complete(ID, owned, anOutcome())
    t.match(await duplicate, { state: 'settled' })
  })

  await t.test('all who wait for one key are woken, in each process', async (t) => {
    const { store, other, isAwaited } = await make(t)
    const owned = await own(store)
    const duplicates = Array.from({ length: 50 }, (_, i) => claimUntilFree(i % 2 === 0 ? store : other))
    await until(() => isAwaited(ID))
    await store.complete(ID, owned, anOutcome('for all'))
    const results = await Promise.all(duplicates)
    t.equal(results.length, 50)
    t.ok(results.every(result => result.state === 'settled'))
  })

  await t.test('of many who wait for a key that is released, one runs and the others wait for that one', async (t) => {
    const { store, other, isAwaited } = await make(t)
    const owned = await own(store)
    const claims = Array.from({ length: 10 }, () => aClaim())
    const attempts: number[] = []
    const duplicates = claims.map(async (claim, i) => {
      const process = i % 2 === 0 ? store : other
      const result = await claimUntilFree(process, claim)
      if (result.state !== 'claimed') return result
      attempts.push(result.attempt)
      await process.complete(ID, { ...claim, attempt: result.attempt }, anOutcome('the second run’s'))
      return process.claim(ID, aClaim())
    })
    await until(() => isAwaited(ID))
    await store.release(ID, owned)
    for (const result of await Promise.all(duplicates)) {
      t.match(result, { state: 'settled', attempt: 2, outcome: anOutcome('the second run’s') })
    }
    t.strictSame(attempts, [2], 'one more run')
  })

  await t.test('who began to wait for an owner that crashed is woken by its successor', async (t) => {
    const { store, other, isAwaited, expireLease } = await make(t)
    await own(store)
    const duplicate = claimUntilFree(other)
    await until(() => isAwaited(ID))
    await expireLease(ID)
    const successor = await own(store)
    await store.complete(ID, successor, anOutcome('the successor’s'))
    t.match(await duplicate, { state: 'settled', attempt: 2, outcome: anOutcome('the successor’s') })
  })

  await t.test('who begins to wait after the key changed its owner is woken too', async (t) => {
    const { store, other, isAwaited, expireLease } = await make(t)
    const first = new AbortController()
    await own(store)
    const gaveUp = claimUntilFree(other, aClaim(), first.signal)
    await until(() => isAwaited(ID))
    await expireLease(ID)
    const second = await own(store)
    first.abort()
    t.match(await gaveUp, { state: 'running' })
    await store.release(ID, second)
    const third = await own(store)
    const duplicate = claimUntilFree(other)
    await until(() => isAwaited(ID))
    await store.complete(ID, third, anOutcome('the third run’s'))
    t.match(await duplicate, { state: 'settled', attempt: 3, outcome: anOutcome('the third run’s') })
  })

  for (const end of ['complete', 'release', 'renew and complete'] as const) {
    await t.test(`who waits is woken although the record got lost meanwhile, by an owner that is to ${end} it`, async (t) => {
      const { store, other, isAwaited, expireRecord } = await make(t)
      const owned = await own(store)
      // Who is awaited already is so on a connection that stands: nothing else wakes the one that this is about.
      const before = await own(store, aClaim(), 'before')
      const warm = other.wait('before', FOREVER, never())
      await until(() => isAwaited('before'))
      await store.complete('before', before, anOutcome())
      await warm
      const waiting = other.wait(ID, 15_000, never())
      await until(() => isAwaited(ID))
      await expireRecord(ID)
      if (end === 'renew and complete') await store.renew(ID, owned)
      if (end === 'release') await store.release(ID, owned)
      else await store.complete(ID, owned, anOutcome())
      await resolvesSoon(t, waiting)
    })
  }

  for (const state of ['released', 'settled'] as const) {
    await t.test(`nobody waits for a key that is ${state}`, async (t) => {
      const under = await make(t)
      await bringTo(state, under)
      await resolvesSoon(t, under.other.wait(ID, FOREVER, never()))
    })
  }

  await t.test('nobody waits for a key that nobody has', async (t) => {
    const { other } = await make(t)
    await resolvesSoon(t, other.wait(ID, FOREVER, never()))
  })

  await t.test('who waits no longer than a time stops then, and the key is still its owner’s', async (t) => {
    const { store, other } = await make(t)
    const owned = await own(store)
    await resolvesSoon(t, other.wait(ID, 20, never()))
    t.match(await other.claim(ID, aClaim()), { state: 'running' })
    t.equal(await store.complete(ID, owned, anOutcome()), true)
  })

  await t.test('who gave up before does not begin to wait', async (t) => {
    const { store, other } = await make(t)
    await own(store)
    await resolvesSoon(t, other.wait(ID, FOREVER, AbortSignal.abort()))
  })

  await t.test('who gives up while waiting stops at once, and the others go on waiting', async (t) => {
    const { store, other, isAwaited } = await make(t)
    const owned = await own(store)
    const leaving = new AbortController()
    const leaver = claimUntilFree(other, aClaim(), leaving.signal)
    let stayed = false
    const stayer = claimUntilFree(other).finally(() => { stayed = true })
    await until(() => isAwaited(ID))
    leaving.abort()
    t.match(await leaver, { state: 'running' })
    t.equal(stayed, false)
    await store.complete(ID, owned, anOutcome())
    t.match(await stayer, { state: 'settled' })
  })
}

/** What a duplicate does that is to wait: claims, and as long as the key is somebody else's waits and claims again. */
async function claimUntilFree (store: Store, claim = aClaim(), signal = never()): Promise<ClaimResult> {
  for (;;) {
    const result = await store.claim(ID, claim)
    if (result.state !== 'running' || signal.aborted) return result
    await store.wait(ID, FOREVER, signal)
  }
}

function never (): AbortSignal {
  return new AbortController().signal
}

async function resolvesSoon (t: Test, waiting: Promise<void>): Promise<void> {
  const start = performance.now()
  await waiting
  t.ok(performance.now() - start < 10_000, 'at once')
}
