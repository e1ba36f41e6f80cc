import { Cluster } from 'ioredis'
import type { ClusterOptions } from 'ioredis'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { freePort } from '../servers/port.ts'
import { ownRedis } from './own-redis.ts'
import type { OwnRedis } from './own-redis.ts'

export const SLOTS = 16_384

export interface OwnCluster {
  nodes: [OwnRedis, OwnRedis]
  /** A client that knows the first node, and discovers the other. */
  connect (options?: Pick<ClusterOptions, 'enableAutoPipelining'>): Cluster
  slotOf (key: string): Promise<number>
  /** Assigns the slots to this node from now on. Both nodes know that at once; clients have to find out. */
  give (slots: number[], to: 0 | 1): Promise<void>
  /**
   * Puts the slots between the two nodes: the first node serves keys that are there, and the second serves the others
   * to clients that ask for it.
   */
  beginToMove (slots: number[]): Promise<void>
}

/** Two masters. The first has all slots, so that clients do not know the second. */
export async function ownCluster (t: Test): Promise<OwnCluster> {
  const busPorts = [await freePort(), await freePort()]
  const [first, second] = await Promise.all(busPorts.map(port => ownRedis(t, {
    args: [
      '--cluster-enabled', 'yes', '--cluster-port', String(port), '--cluster-announce-ip', '127.0.0.1',
      '--cluster-require-full-coverage', 'no',
      // Otherwise a node that gives its last slot away becomes a replica.
      '--cluster-allow-replica-migration', 'no'
    ]
  }))) as [OwnRedis, OwnRedis]
  const nodes: [OwnRedis, OwnRedis] = [first, second]
  await second.admin.call('CLUSTER', 'SET-CONFIG-EPOCH', 2)
  await first.admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, SLOTS - 1)
  await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', second.port, busPorts[1] as number)
  for (const { admin } of nodes) {
    await until(async () => /state:ok[^]*known_nodes:2/.test(await admin.cluster('INFO')), 'a cluster of two')
  }
  const ids = await Promise.all(nodes.map(({ admin }) => admin.call('CLUSTER', 'MYID'))) as [string, string]
  return {
    nodes,
    connect (options = {}) {
      const cluster = new Cluster([{ host: '127.0.0.1', port: first.port }], { enableAutoPipelining: true, ...options })
      cluster.on('error', () => {})
      t.teardown(() => cluster.disconnect())
      return cluster
    },
    slotOf: async key => Number(await first.admin.cluster('KEYSLOT', key)),
    async give (slots, to) {
      const [target, other] = [nodes[to], nodes[1 - to] as OwnRedis]
      // By gossip alone the old owner would take them back, unless the epoch of the new owner is greater: so the new
      // owner has to learn the epoch of the old one first, which a MEET makes it do at once.
      const epoch = Number(/cluster_my_epoch:(\d+)/.exec(await other.admin.cluster('INFO'))?.[1])
      await other.admin.call('CLUSTER', 'MEET', '127.0.0.1', target.port, busPorts[to] as number)
      const knownEpoch = async (): Promise<number> => {
        const lines = String(await target.admin.cluster('NODES')).split('\n')
        return Number(lines.find(line => line.startsWith(ids[1 - to] ?? ''))?.split(' ')[6])
      }
      await until(async () => await knownEpoch() >= epoch, 'the epoch of the old owner being known')
      await target.admin.call('CLUSTER', 'BUMPEPOCH')
      for (const slot of slots) {
        // The new owner is told first: otherwise the old one learns of it from gossip, and may have the change already.
        for (const node of [target, other]) await node.admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to])
      }
    },
    async beginToMove (slots) {
      for (const slot of slots) {
        await second.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[0])
        await first.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[1])
      }
    }
  }
}
