import { Cluster } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { newPrefix, until } from '../helper.ts'
import { storeContract } from './contract.ts'
import { aClaim, anOutcome, openStore, own, viewOf } from './harness.ts'
import { ownRedis } from './own-redis.ts'

const server = await ownRedis(t, { args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] })
await server.admin.cluster('ADDSLOTSRANGE', 0, 16383)
await until(async () => (await server.admin.cluster('INFO')).includes('cluster_state:ok'), 'a cluster of one')

function connectCluster (t: Test): Cluster {
  const cluster = new Cluster([{ host: '127.0.0.1', port: server.port }], { enableAutoPipelining: true })
  cluster.on('error', () => {})
  t.teardown(() => cluster.disconnect())
  return cluster
}

storeContract(t, 'RedisStore on a Cluster', async (t) => {
  const keyPrefix = newPrefix()
  const cluster = connectCluster(t)
  return {
    store: openStore(t, cluster, keyPrefix),
    other: openStore(t, connectCluster(t), keyPrefix),
    ...viewOf(cluster, keyPrefix)
  }
})

t.test('keys of many slots are claimed and settled at once', async (t) => {
  const keyPrefix = newPrefix()
  const store = openStore(t, connectCluster(t), keyPrefix)
  const ids = Array.from({ length: 100 }, (_, i) => `record-${i}`)
  const owned = await Promise.all(ids.map(id => own(store, aClaim(), id)))
  await Promise.all(ids.map((id, i) => store.complete(id, owned[i] as (typeof owned)[number], anOutcome(id))))
  const slots = new Set(await Promise.all(ids.map(id => server.admin.cluster('KEYSLOT', keyPrefix + id))))
  t.ok(slots.size > 50, `${slots.size} slots`)
  for (const [i, result] of (await Promise.all(ids.map(id => store.claim(id, aClaim())))).entries()) {
    t.match(result, { state: 'settled', outcome: anOutcome(ids[i]) })
  }
})

t.test('a Cluster that connects for the first time is waited for', async (t) => {
  const cluster = connectCluster(t)
  t.not(cluster.status, 'ready')
  t.match(await openStore(t, cluster, newPrefix()).claim('new', aClaim()), { state: 'claimed', attempt: 1 })
})
