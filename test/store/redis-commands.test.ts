import t from 'tap'
import type { Test } from 'tap'
import { connectRedis, until } from '../helper.ts'
import { recordId } from '../../plugin/core/record-id.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, ID, never, openStore, own, viewOf, waitFor } from './harness.ts'
import type { StoreUnderTest } from './harness.ts'
import { ownRedis } from './own-redis.ts'
import type { OwnRedis } from './own-redis.ts'

/*
 * What Redis is asked to do, as Redis itself counts it: the commands that a script calls count besides the script.
 */

interface CountedStore extends Required<StoreUnderTest> { server: OwnRedis }

/** Two stores whose clients are connected and whose scripts Redis knows, and a server that counts from then on. */
async function countedStore (t: Test): Promise<CountedStore> {
  const server = await ownRedis(t)
  const clients = [connectRedis(t, { url: server.url }), connectRedis(t, { url: server.url })] as const
  const [store, other] = [openStore(t, clients[0], 'idem:'), openStore(t, clients[1], 'idem:')]
  const view = viewOf(clients[0], 'idem:')
  for (const id of ['completed', 'released']) {
    const owned = await own(store, aClaim(), id)
    await store.renew(id, owned)
    await other.claim(id, aClaim())
    await (id === 'completed' ? store.complete(id, owned, anOutcome()) : store.release(id, owned))
  }
  await until(async () => clients[1].status === 'ready')
  await server.forgetCommands()
  return { store, other, server, ...view }
}

t.test('a first run costs one SET and one script', async (t) => {
  const { store, server } = await countedStore(t)
  const owned = await own(store)
  t.strictSame(await server.commands(), { set: 1 }, 'the claim')
  await server.forgetCommands()
  await store.complete(ID, owned, anOutcome())
  t.strictSame(await server.commands(), { evalsha: 1, get: 1, set: 1 }, 'the completion')
})

t.test('a replay costs one SET and nothing else', async (t) => {
  const { store, other, server } = await countedStore(t)
  await store.complete(ID, await own(store), anOutcome())
  await server.forgetCommands()
  t.match(await other.claim(ID, aClaim()), { state: 'settled' })
  t.strictSame(await server.commands(), { set: 1 })
})

t.test('a duplicate of a running request costs one SET and one script, which writes nothing', async (t) => {
  const { store, other, server } = await countedStore(t)
  await own(store)
  await server.forgetCommands()
  t.match(await other.claim(ID, aClaim()), { state: 'running' })
  t.strictSame(await server.commands(), { set: 1, evalsha: 1, get: 1, pttl: 1 })
})

t.test('another request with the key costs one SET and nothing else', async (t) => {
  const { store, other, server } = await countedStore(t)
  await own(store)
  await server.forgetCommands()
  t.match(await other.claim(ID, aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
  t.strictSame(await server.commands(), { set: 1 })
})

t.test('a claim that is sent again costs one SET and nothing else', async (t) => {
  const { store, server } = await countedStore(t)
  const claim = aClaim()
  await own(store, claim)
  await server.forgetCommands()
  t.match(await store.claim(ID, claim), { state: 'claimed', attempt: 1 })
  t.strictSame(await server.commands(), { set: 1 })
})

t.test('a renewal costs one script, which does not write the record', async (t) => {
  const { store, server } = await countedStore(t)
  const owned = await own(store)
  await server.forgetCommands()
  await store.renew(ID, owned)
  t.strictSame(await server.commands(), { evalsha: 1, get: 1, pexpire: 1 })
})

for (const end of ['complete', 'release'] as const) {
  t.test(`to ${end} a key publishes only if somebody waits for it`, async (t) => {
    const { store, other, server, isAwaited } = await countedStore(t)
    const finish = async (key: string): Promise<void> => {
      const id = recordId('global', key)
      const owned = await own(store, aClaim(), id)
      if (key === 'awaited') {
        const { ended } = await waitFor(() => other.wait(id, 600_000, never()), () => isAwaited(id))
        await finishOwned(id, owned)
        return ended
      }
      return finishOwned(id, owned)
    }
    const finishOwned = async (id: string, owned: Awaited<ReturnType<typeof own>>): Promise<void> => {
      if (end === 'complete') await store.complete(id, owned, anOutcome())
      else await store.release(id, owned)
    }
    await finish('nobody waits')
    t.equal((await server.commands()).publish, undefined)
    await finish('awaited')
    t.equal((await server.commands()).publish, 1)
  })
}

t.test('a hundred who wait for one key in one process cost one mark and one subscription', async (t) => {
  const { store, other, server, isAwaited } = await countedStore(t)
  const owned = await own(store)
  await server.forgetCommands()
  const waiting = await Promise.all(Array.from({ length: 100 }, async () => {
    return await waitFor(() => other.wait(ID, 600_000, never()), () => isAwaited(ID))
  }))
  const { evalsha, subscribe, setrange } = await server.commands()
  t.strictSame({ evalsha, subscribe, setrange }, { evalsha: 1, subscribe: 1, setrange: 1 })
  await store.complete(ID, owned, anOutcome())
  await Promise.all(waiting.map(({ ended }) => ended))
})

t.test('to wait for another key costs one more mark, and no subscription', async (t) => {
  const { store, other, server, isAwaited } = await countedStore(t)
  const [one, another] = [recordId('global', 'one'), recordId('global', 'another')]
  const first = await own(store, aClaim(), one)
  const second = await own(store, aClaim(), another)
  const waiting = [await waitFor(() => other.wait(one, 600_000, never()), () => isAwaited(one))]
  await server.forgetCommands()
  waiting.push(await waitFor(() => other.wait(another, 600_000, never()), () => isAwaited(another)))
  const { evalsha, subscribe } = await server.commands()
  t.strictSame({ evalsha, subscribe }, { evalsha: 1, subscribe: undefined })
  await store.complete(one, first, anOutcome())
  await store.complete(another, second, anOutcome())
  await Promise.all(waiting.map(({ ended }) => ended))
})

t.test('who waits asks nothing until the key is settled, also the first to wait in a process', async (t) => {
  const { store, other, server, isAwaited } = await countedStore(t)
  const owned = await own(store)
  await server.forgetCommands()
  const duplicates = await Promise.all(Array.from({ length: 10 }, async () => {
    t.match(await other.claim(ID, aClaim()), { state: 'running' })
    return await waitFor(() => other.wait(ID, 600_000, never()), () => isAwaited(ID))
  }))
  await store.complete(ID, owned, anOutcome())
  for (const { ended } of duplicates) {
    await ended
    t.match(await other.claim(ID, aClaim()), { state: 'settled' })
  }
  const { set, evalsha } = await server.commands()
  t.strictSame(
    { set, evalsha },
    { set: 10 + 1 + 10, evalsha: 10 + 1 + 1 },
    'ten conflicts, a mark, a completion, ten replays'
  )
})

t.test('a Redis that forgot the scripts is taught them again, each with one more command', async (t) => {
  const { store, other, server, expireLease, isAwaited } = await countedStore(t)
  const flush = async (): Promise<void> => {
    await server.admin.script('FLUSH')
    await server.forgetCommands()
  }
  const owned = await own(store)
  await flush()
  t.equal(await store.renew(ID, owned), true)
  t.match(await server.commands(), { evalsha: 1, eval: 1 })
  t.equal(await store.renew(ID, owned), true)
  t.match(await server.commands(), { evalsha: 2, eval: 1 })

  await flush()
  const { ended } = await waitFor(() => store.wait(ID, 600_000, never()), () => isAwaited(ID))
  await expireLease(ID)
  await flush()
  const successor = await own(other)
  t.equal(successor.attempt, 2)
  t.match(await server.commands(), { evalsha: 1, eval: 1 })
  await flush()
  t.equal(await other.release(ID, successor), true)
  t.match(await server.commands(), { evalsha: 1, eval: 1 })
  const third = await own(other)
  await flush()
  t.equal(await other.complete(ID, third, anOutcome()), true)
  t.match(await server.commands(), { evalsha: 1, eval: 1 })
  await ended
})

t.test('to forget a key costs one script, which tells the other processes', async (t) => {
  const { store, server } = await countedStore(t)
  await own(store)
  await store.forget(recordId('global', 'another key'))
  await server.forgetCommands()
  t.equal(await store.forget(ID), true)
  t.strictSame(await server.commands(), { evalsha: 1, del: 1, publish: 1 })
})
