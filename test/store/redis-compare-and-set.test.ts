import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import type { RedisStore } from '../../plugin/store/redis.ts'
import { connectRedis, until } from '../helper.ts'
import { unpacked, VALKEY_8 } from '../servers/debian.ts'
import { storeContract } from './contract.ts'
import { aClaim, anOutcome, ID, never, openStore, own, redisUnderTest, waitFor } from './harness.ts'
import { ownRedis } from './own-redis.ts'
import type { OwnRedis } from './own-redis.ts'

/*
 * Valkey 8.1 and Redis 8.4 can compare a value and set another in one command. The store completes keys with it there.
 * A Cluster or a failover can mix servers that know the command with others that do not.
 */

const VALKEY = unpacked(VALKEY_8)
const skip = VALKEY === null ? 'Valkey 8 cannot be had on this machine' : false
const log = pino({ level: 'silent' })

function valkey (t: Test): Promise<OwnRedis> {
  return ownRedis(t, { binary: VALKEY as string })
}

/** A store that has checked its server, as it does when an app starts. */
async function checked (store: RedisStore): Promise<RedisStore> {
  await store.check(600_000, log)
  return store
}

async function checkedStore (t: Test, { url }: OwnRedis): Promise<RedisStore> {
  return checked(openStore(t, connectRedis(t, { url }), 'idem:'))
}

if (skip === false) {
  storeContract(t, 'RedisStore on a server that compares and sets in one command', async (t) => {
    const { url } = await valkey(t)
    const stores = await redisUnderTest(t, { url })
    await Promise.all([stores.store, stores.other].map(store => checked(store as RedisStore)))
    return stores
  })
}

t.test('a first run costs two SET and no script', { skip }, async (t) => {
  const server = await valkey(t)
  const store = await checkedStore(t, server)
  await server.forgetCommands()
  const owned = await own(store)
  t.equal(await store.complete(ID, owned, anOutcome()), true)
  t.strictSame(await server.commands(), { set: 2 })
  t.ok(await server.admin.pttl(`idem:${ID}`) > 0, 'the record expires')
})

t.test('a store that has not checked its server completes keys with the script', { skip }, async (t) => {
  const server = await valkey(t)
  const store = openStore(t, connectRedis(t, { url: server.url }), 'idem:')
  const owned = await own(store)
  await server.forgetCommands()
  t.equal(await store.complete(ID, owned, anOutcome()), true)
  t.match(await server.commands(), { eval: 1 })
})

t.test('a client whose methods were patched completes keys with the script', { skip }, async (t) => {
  const server = await valkey(t)
  const redis = connectRedis(t, { url: server.url })
  redis.getBuffer = redis.getBuffer.bind(redis)
  const store = await checked(openStore(t, redis, 'idem:'))
  const owned = await own(store)
  await server.forgetCommands()
  t.equal(await store.complete(ID, owned, anOutcome()), true)
  t.match(await server.commands(), { eval: 1, set: 1 })
})

t.test('who waits for a key is woken by its completion', { skip }, async (t) => {
  const server = await valkey(t)
  const [store, other] = [await checkedStore(t, server), await checkedStore(t, server)]
  const owned = await own(store)
  const isAwaited = async (): Promise<boolean> => (await server.admin.get(`idem:${ID}`))?.[1] === 'w'
  const { ended } = await waitFor(() => other.wait(ID, 600_000, never()), isAwaited)
  t.equal(await store.complete(ID, owned, anOutcome()), true)
  await ended
  t.match(await other.claim(ID, aClaim()), { state: 'settled' })
})

t.test('a full server still settles a key without its response', { skip }, async (t) => {
  const server = await valkey(t)
  const store = await checkedStore(t, server)
  const owned = await own(store)
  await server.admin.config('SET', 'maxmemory', '1')
  await t.rejects(store.complete(ID, owned, anOutcome()), { name: 'StoreRefusedError' })
  t.equal(await store.complete(ID, owned, { statusCode: 200, response: null }), true)
  await server.admin.config('SET', 'maxmemory', '0')
  t.match(await store.claim(ID, aClaim()), { state: 'settled', outcome: { response: null } })
})

t.test('where an older server takes over, completions go on with the script', { skip }, async (t) => {
  const server = await valkey(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  const store = await checked(openStore(t, redis, 'idem:'))
  await server.stop()
  // The Redis of the tests, on the same port.
  await server.start()
  await until(() => redis.status === 'ready')
  const [first, second] = [await own(store, aClaim(), 'first'), await own(store, aClaim(), 'second')]
  await server.forgetCommands()
  t.equal(await store.complete('first', first, anOutcome()), true)
  t.equal(await store.complete('second', second, anOutcome()), true)
  // Redis does not count a command whose options it does not know.
  t.match(await server.commands(), { evalsha: 2, eval: 1 })
  t.match(await store.claim('first', aClaim()), { state: 'settled' })
})
