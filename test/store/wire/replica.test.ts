import { Cluster } from 'ioredis'
import t from 'tap'
import { until } from '../../helper.ts'
import { freePort } from '../../servers/port.ts'
import { ownCluster } from '../cluster.ts'
import { aClaim, ID, openStore, own } from '../harness.ts'
import { ownRedis } from '../own-redis.ts'
import { answer } from './clients.ts'

t.test('a Cluster client that reads from replicas (scaleReads) claims and completes on the master', async (t) => {
  const { nodes: [master] } = await ownCluster(t)
  const busPort = await freePort()
  const replica = await ownRedis(t, {
    args: ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-announce-ip', '127.0.0.1']
  })
  const id = await master.admin.call('CLUSTER', 'MYID') as string
  await replica.admin.call('CLUSTER', 'MEET', '127.0.0.1', master.port, (await busPortOf(id)))
  await until(() => replica.admin.call('CLUSTER', 'REPLICATE', id).then(() => true, () => false), 'a replica')
  await until(async () => (await replica.admin.info('replication')).includes('master_link_status:up'), 'a copy')
  await until(async () => String(await master.admin.cluster('SLOTS')).includes(String(replica.port)), 'its place')

  const redis = new Cluster([{ host: '127.0.0.1', port: master.port }], { scaleReads: 'slave' })
  t.teardown(() => redis.disconnect())
  const store = openStore(t, redis, 'idem:')
  await replica.forgetCommands()
  const owned = await own(store)
  t.equal(await store.complete(ID, owned, answer('paid')), true)
  t.match(await store.claim(ID, aClaim()), { state: 'settled' })
  await until(async () => (await store.find(ID))?.state === 'settled', 'the copy of the record')
  t.match(await replica.commands(), { get: Number, pttl: Number }, 'find() reads from the replica')
  t.equal(await store.forget(ID), true)

  /** A node knows the ports of the cluster's bus from its own list of nodes. */
  async function busPortOf (node: string): Promise<number> {
    const lines = String(await master.admin.cluster('NODES')).split('\n')
    return Number(/@(\d+)/.exec(lines.find(line => line.startsWith(node)) ?? '')?.[1])
  }
})
