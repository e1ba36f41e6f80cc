import type { Cluster } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { newPrefix } from '../helper.ts'
import { ownCluster } from './cluster.ts'
import type { OwnCluster } from './cluster.ts'
import { aClaim, anOutcome, openStore, own } from './harness.ts'
import { patched } from './wire/clients.ts'

/*
 * Slots of a Cluster move to another node while requests come. A client whose methods are called, with auto-pipelining,
 * sends the commands of one tick together, and passes a redirection of one of them on to its caller.
 */

interface Way {
  enableAutoPipelining: boolean
  /** Somebody replaced a method of the client, so the store calls its methods. */
  isPatched: boolean
}

const WAYS: Way[] = [true, false].flatMap(enableAutoPipelining =>
  [true, false].map(isPatched => ({ enableAutoPipelining, isPatched })))

function connect (cluster: OwnCluster, { enableAutoPipelining, isPatched }: Way): Cluster {
  const client = cluster.connect({ enableAutoPipelining })
  return isPatched ? patched(client) : client
}

const IDS = Array.from({ length: 40 }, (_, i) => `record-${i}`)
/** Every other key moves, so that moved keys and others are sent together. */
const moves = (_id: string, i: number): boolean => i % 2 === 0

async function slotsOf (cluster: OwnCluster, keyPrefix: string): Promise<number[]> {
  return [...new Set(await Promise.all(IDS.filter(moves).map(id => cluster.slotOf(keyPrefix + id))))]
}

/** Each call is for a key of its own, all at once, and some keys have moved away. */
async function allAtOnce<T> (t: Test, what: string, call: (id: string, i: number) => Promise<T>): Promise<T[]> {
  const results = await Promise.allSettled(IDS.map(call))
  const refused = results.flatMap(({ status, ...rest }) =>
    status === 'rejected' ? [String((rest as { reason: unknown }).reason)] : []
  )
  t.strictSame(refused, [], what)
  return results.flatMap(result => result.status === 'fulfilled' ? [result.value] : [])
}

for (const way of WAYS) {
  const how = JSON.stringify(way)

  t.test('keys whose slots have moved are claimed and settled all the same ' +
    `(${how})`, async (t) => {
    const cluster = await ownCluster(t)
    const keyPrefix = newPrefix()
    const store = openStore(t, connect(cluster, way), keyPrefix)
    const slots = await slotsOf(cluster, keyPrefix)
    const owned = await allAtOnce(t, 'before', id => own(store, aClaim(), `${id}-before`))
    t.equal(owned.length, IDS.length)
    for (const to of [1, 0, 1] as const) {
      await Promise.all(cluster.nodes.map(({ admin }) => admin.flushall()))
      // The keys move to a node that the client has not met yet.
      await cluster.give(slots, to)
      const claimed = await allAtOnce(t, `claimed, moved to ${to}`, id => store.claim(id, aClaim()))
      t.ok(claimed.every(({ state }) => state === 'claimed'))
    }
  })

  t.test('whatever a key is asked for follows it to where it has moved ' +
    `(${how})`, async (t) => {
    const cluster = await ownCluster(t)
    const keyPrefix = newPrefix()
    const slots = await slotsOf(cluster, keyPrefix)
    /** Nothing is lost on the way: the content of the slots is moved too. */
    const carry = async (to: 0 | 1): Promise<void> => {
      const [from, target] = [cluster.nodes[1 - to], cluster.nodes[to]] as [
        OwnCluster['nodes'][0],
        OwnCluster['nodes'][0]
      ]
      const keys: Array<[string, Buffer, number]> = []
      for (const slot of slots) {
        for (const key of await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 1_000) as string[]) {
          keys.push([key, await from.admin.callBuffer('DUMP', key) as Buffer, await from.admin.pttl(key)])
          await from.admin.del(key)
        }
      }
      await cluster.give(slots, to)
      for (const [key, value, timeToLive] of keys) await target.admin.restore(key, timeToLive, value)
    }
    let at: 0 | 1 = 0
    const moved = async <T>(what: string, call: (id: string, i: number) => Promise<T>): Promise<T[]> => {
      await carry(at = at === 0 ? 1 : 0)
      // A client that has looked up where everything is once, and has not looked again.
      return allAtOnce(t, what, call)
    }
    const store = openStore(t, connect(cluster, way), keyPrefix)
    const first = await moved('claim', async id => own(store, aClaim(), id))
    t.ok((await moved('renew', (id, i) => store.renew(id, first[i] as typeof first[0]))).every(Boolean))
    t.ok((await moved('claim what runs', id => store.claim(id, aClaim()))).every(({ state }) => state === 'running'))
    t.ok((await moved('mark', (id, i) => store.markLeft(id, first[i] as typeof first[0]))).every(Boolean))
    t.ok((await moved('release', (id, i) => store.release(id, first[i] as typeof first[0]))).every(Boolean))
    const second = await moved('take over', async id => own(store, aClaim(), id))
    t.ok(second.every(({ attempt }) => attempt === 2))
    t.ok((await moved('withdraw', (id, i) => store.withdraw(id, second[i] as typeof second[0]))).every(Boolean))
    const third = await moved('claim again', async id => own(store, aClaim(), id))
    t.ok(
      (await moved('complete', (id, i) => store.complete(id, third[i] as (typeof third)[0], anOutcome(id)))).every(
        Boolean
      )
    )
    t.ok((await moved('replay', id => store.claim(id, aClaim()))).every(result => result.state === 'settled'))
    t.ok((await moved('find', id => store.find(id))).every(record => record?.state === 'settled'))
    t.ok((await moved('forget', id => store.forget(id))).every(Boolean))
  })

  t.test('keys whose slots are about to move are claimed where they will be ' +
    `(${how})`, async (t) => {
    const cluster = await ownCluster(t)
    const keyPrefix = newPrefix()
    const store = openStore(t, connect(cluster, way), keyPrefix)
    await own(store, aClaim(), 'record-before')
    await cluster.beginToMove(await slotsOf(cluster, keyPrefix))
    const owned = await allAtOnce(t, 'claimed', async id => own(store, aClaim(), id))
    t.ok(
      (
        await allAtOnce(t, 'settled', (id, i) => store.complete(id, owned[i] as (typeof owned)[0], anOutcome(id)))
      ).every(Boolean)
    )
    t.ok(await cluster.nodes[1].admin.dbsize() > 0, 'on the other node')
    t.ok((await allAtOnce(t, 'replayed', id => store.claim(id, aClaim()))).every(({ state }) => state === 'settled'))
  })

  t.test('slots that nobody has for a moment are waited for ' +
    `(${how})`, async (t) => {
    const cluster = await ownCluster(t)
    const keyPrefix = newPrefix()
    const store = openStore(t, connect(cluster, way), keyPrefix)
    await own(store, aClaim(), 'record-before')
    const slots = await slotsOf(cluster, keyPrefix)
    const { admin } = cluster.nodes[0]
    await admin.call('CLUSTER', 'DELSLOTS', ...slots)
    const claims = allAtOnce(t, 'claimed', id => store.claim(id, aClaim()))
    await admin.call('CLUSTER', 'ADDSLOTS', ...slots)
    t.ok((await claims).every(({ state }) => state === 'claimed'))
  })
}
