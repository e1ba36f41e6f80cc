import { Cluster } from 'ioredis'
import type { ClusterOptions } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { recordId } from '../../plugin/core/record-id.ts'
import { newPrefix, until } from '../helper.ts'
import { storeContract } from './contract.ts'
import { aClaim, anOutcome, never, openStore, own, viewOf, waitFor } from './harness.ts'
import { ownRedis } from './own-redis.ts'

const server = await ownRedis(t, { args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] })
await server.admin.cluster('ADDSLOTSRANGE', 0, 16383)
await until(async () => (await server.admin.cluster('INFO')).includes('cluster_state:ok'), 'a cluster of one')

function connectCluster (
  t: Test,
  options: Pick<ClusterOptions, 'enableAutoPipelining' | 'enableOfflineQueue' | 'lazyConnect'> = {}
): Cluster {
  const cluster = new Cluster([{ host: '127.0.0.1', port: server.port }], { enableAutoPipelining: true, ...options })
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

for (const options of [
  { lazyConnect: true },
  { enableOfflineQueue: false },
  { lazyConnect: true, enableOfflineQueue: false }
]) {
  for (const enableAutoPipelining of [true, false]) {
    t.test('neither the first claim nor the subscription is lost, ' +
      `with ${JSON.stringify({ ...options, enableAutoPipelining })}`, async (t) => {
      const keyPrefix = newPrefix()
      const store = openStore(t, connectCluster(t, { ...options, enableAutoPipelining }), keyPrefix)
      t.match(await store.claim('new', aClaim()), { state: 'claimed', attempt: 1 })
      const owner = openStore(t, connectCluster(t), keyPrefix)
      const id = recordId('global', 'awaited')
      const owned = await own(owner, aClaim(), id)
      const { isAwaited } = viewOf(server.admin, keyPrefix)
      const { ended } = await waitFor(() => store.wait(id, 600_000, never()), () => isAwaited(id))
      await owner.complete(id, owned, anOutcome())
      await ended
      t.match(await store.claim(id, aClaim()), { state: 'settled' })
    })
  }
}
