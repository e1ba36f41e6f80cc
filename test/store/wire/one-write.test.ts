import { mock } from 'node:test'
import t from 'tap'
import type { Test } from 'tap'
import { newPrefix, until } from '../../helper.ts'
import { ownCluster } from '../cluster.ts'
import { aClaim, openStore, own } from '../harness.ts'
import { ownRedis } from '../own-redis.ts'
import type { OwnRedis } from '../own-redis.ts'
import { answer, connected, countWrites, streamOf } from './clients.ts'
import type { ClientOptions } from './clients.ts'
import { ownSentinel, ownTlsRedis, socketPath } from './servers.ts'

const IDS = Array.from({ length: 40 }, (_, i) => `record-${i}`)

/** The options of a client, from the server that it is for. */
const CLIENTS: Record<string, (t: Test) => Promise<[ClientOptions, url?: string]>> = {
  'a client as it is': async () => [{}],
  'a client with enableAutoPipelining': async () => [{ enableAutoPipelining: true }],
  'a client that speaks RESP2': async () => [{ protocol: 2 }],
  'a client that speaks RESP3': async () => [{ protocol: 3 }],
  'a client that reads answers as RESP3 means them': async () => [{ protocol: 3, replyMapping: 'resp3' }],
  'a client that gives numbers as text': async () => [{ stringNumbers: true }],
  'a client with a keyPrefix': async () => [{ keyPrefix: newPrefix() }],
  'a client of another database': async () => [{ db: 7 }],
  'a client without an offline queue that connects late': async () =>
    [{ enableOfflineQueue: false, lazyConnect: true }],
  'a client with a timeout for commands': async () => [{ commandTimeout: 600_000 }],
  'a client over TLS': ownTlsRedis,
  'a client over a Unix socket': async t => {
    const path = socketPath(t)
    await ownRedis(t, { args: ['--unixsocket', path] })
    return [{ path }]
  },
  'a client that asks Sentinel': ownSentinel
}

for (const [what, optionsOf] of Object.entries(CLIENTS)) {
  t.test(`${what} sends the commands of one turn of the event loop in one write`, async (t) => {
    const [options, url] = await optionsOf(t)
    const redis = await connected(t, options, url)
    const store = openStore(t, redis, newPrefix())
    const owned = IDS.map(() => ({ ...aClaim(), attempt: 1 }))
    const ownerOf = (i: number): typeof owned[0] => owned[i] as typeof owned[0]
    const writes = countWrites(streamOf(redis))

    const claims = await Promise.all(IDS.map((id, i) => store.claim(id, ownerOf(i))))
    t.ok(claims.every(({ state }) => state === 'claimed'))
    t.equal(writes(), 1, 'the claims')

    // The first completion and the first deletion may have to load their scripts.
    await store.complete('another', await own(store, aClaim(), 'another'), answer(''))
    await store.forget('another')
    const before = writes()
    const completions = await Promise.all(IDS.map((id, i) =>
      store.complete(id, ownerOf(i), answer(i % 2 === 0 ? id : Buffer.from(id)))))
    t.ok(completions.every(Boolean))
    t.equal(writes() - before, 1, 'the completions, with text and with bytes')

    const replays = await Promise.all(IDS.map(id => store.claim(id, aClaim())))
    t.equal(writes() - before, 2, 'the replays')
    const bodies = replays.map(result => result.state === 'settled' && String(result.outcome.response?.body))
    t.strictSame(bodies, IDS, 'each gets its own answer')
    await Promise.all(IDS.map(id => store.forget(id)))
    t.equal(writes() - before, 3, 'the deletions')
  })
}

t.test('Redis reads the commands of one turn at once', async (t) => {
  const server = await ownRedis(t)
  const store = openStore(t, await connected(t, {}, server.url), 'idem:')
  const before = await reads(server)
  await Promise.all(IDS.map(id => store.claim(id, aClaim())))
  t.equal(await reads(server) - before, 2, 'the claims, and INFO')
})

async function reads ({ admin }: OwnRedis): Promise<number> {
  return Number(/total_reads_processed:(\d+)/.exec(await admin.info('stats'))?.[1])
}

t.test('commands of the app leave in the same write, before and after those of the plugin', async (t) => {
  const redis = await connected(t)
  const store = openStore(t, redis, newPrefix())
  const writes = countWrites(streamOf(redis))
  const sent = [redis.echo('before'), store.claim('a', aClaim()), redis.echo('between'), store.claim('b', aClaim())]
  t.match(await Promise.all(sent), ['before', { state: 'claimed' }, 'between', { state: 'claimed' }])
  t.ok(writes() <= 2, 'what the app sent before the plugin may leave at once')
})

t.test('each node of a Cluster gets the commands of one turn in one write', async (t) => {
  const cluster = await ownCluster(t)
  const keyPrefix = newPrefix()
  const slots = await Promise.all(IDS.map(id => cluster.slotOf(keyPrefix + id)))
  await cluster.give([...new Set(slots.slice(0, IDS.length / 2))], 1)
  const client = cluster.connect({ enableAutoPipelining: false })
  const store = openStore(t, client, keyPrefix)
  await Promise.all(IDS.map(id => store.claim(id, aClaim())))
  const nodes = client.nodes('master')
  t.equal(nodes.length, 2)
  await until(() => nodes.every(({ status }) => status === 'ready'))
  await Promise.all(IDS.map(id => store.forget(id)))
  const writes = nodes.map(node => countWrites(streamOf(node)))
  await Promise.all(IDS.map(id => store.claim(id, aClaim())))
  await Promise.all(IDS.map(id => store.forget(id)))
  t.strictSame(writes.map(count => count()), [2, 2])
})

t.test('fake timers in the tests of an app hold no command back, neither the plugin’s nor the app’s', async (t) => {
  const redis = await connected(t)
  const store = openStore(t, redis, newPrefix())
  mock.timers.enable({ apis: ['setImmediate', 'setInterval', 'setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const [claimed, pong] = await Promise.all([store.claim('a', aClaim()), redis.ping()])
  t.match(claimed, { state: 'claimed' })
  t.equal(pong, 'PONG')
})
