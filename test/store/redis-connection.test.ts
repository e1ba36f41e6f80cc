import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import type { Store } from '../../plugin/store/store.ts'
import { StoreUnreachableError } from '../../plugin/store/store.ts'
import { recordId } from '../../plugin/core/record-id.ts'
import { connectRedis, newPrefix, until } from '../helper.ts'
import { aClaim, anOutcome, ID, never, openStore, own, viewOf, waitFor } from './harness.ts'
import { ownRedis } from './own-redis.ts'
import type { OwnRedis } from './own-redis.ts'

const retryStrategy = (): number => 20

/** Each of these asks Redis, and each must get an answer. */
async function isUnreachable (t: Test, store: Store): Promise<void> {
  const owned = { ...aClaim(), attempt: 1 }
  await t.rejects(store.claim(ID, owned), StoreUnreachableError, 'claim')
  await t.rejects(store.renew(ID, owned), StoreUnreachableError, 'renew')
  await t.rejects(store.complete(ID, owned, anOutcome()), StoreUnreachableError, 'complete')
  await t.rejects(store.release(ID, owned), StoreUnreachableError, 'release')
  await t.rejects(store.withdraw(ID, owned), StoreUnreachableError, 'withdraw')
  await t.rejects(store.markLeft(ID, owned), StoreUnreachableError, 'markLeft')
  await t.rejects(store.find(ID), StoreUnreachableError, 'find')
  await t.rejects(store.forget(ID), StoreUnreachableError, 'forget')
}

t.test('a client that lost its connection is told at once that Redis is unreachable, until it is back', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const store = openStore(t, redis, 'idem:')
  await own(store)
  await server.stop()
  await until(() => redis.status !== 'ready')
  await isUnreachable(t, store)
  await server.start()
  await until(() => redis.status === 'ready')
  t.match(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
})

t.test('what was refused without a connection is not sent later', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const store = openStore(t, redis, 'idem:')
  await redis.ping()
  await server.stop()
  await until(() => redis.status !== 'ready')
  await t.rejects(store.claim(ID, aClaim()), StoreUnreachableError)
  await server.start()
  await until(() => redis.status === 'ready')
  t.equal(await store.find(ID), null)
})

t.test('a client that connects for the first time is waited for', async (t) => {
  const server = await ownRedis(t, { started: false })
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const store = openStore(t, redis, 'idem:')
  const claims = Promise.all(['a', 'b', 'c'].map(id => store.claim(id, aClaim())))
  await until(() => redis.status === 'reconnecting')
  await server.start()
  t.strictSame(await claims, [1, 1, 1].map(attempt => ({ state: 'claimed', attempt })))
})

t.test('a client that connects for the first time is waited for no longer than its time', async (t) => {
  const server = await ownRedis(t, { started: false })
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const store = openStore(t, redis, 'idem:', { connectTimeout: 40 })
  await t.rejects(store.claim(ID, aClaim()), {
    name: 'StoreUnreachableError',
    message: 'The Redis client did not connect within 40 ms'
  })
  await server.start()
  await until(() => redis.status === 'ready')
  t.equal(await store.find(ID), null, 'and the claim is not sent later')
})

t.test('a lazy client connects at its first claim', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, lazyConnect: true })
  const store = openStore(t, redis, 'idem:')
  t.equal(redis.status, 'wait')
  t.match(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
  t.equal(redis.status, 'ready')
})

t.test('a client that was connected before it was handed over counts as connected', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  await redis.ping()
  const store = openStore(t, redis, 'idem:')
  await server.stop()
  await until(() => redis.status !== 'ready')
  await isUnreachable(t, store)
})

t.test('a client that was ended is told at once', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url })
  const store = openStore(t, redis, 'idem:')
  await own(store)
  await redis.quit()
  await until(() => redis.status === 'end')
  await isUnreachable(t, store)
  await isUnreachable(t, openStore(t, redis, 'idem:'))
})

t.test('a listener is called each time that the client is ready again, until it is removed', async (t) => {
  const server = await ownRedis(t, { started: false })
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const own = redis.listenerCount('ready')
  const store = openStore(t, redis, 'idem:')
  const told = { always: 0, twice: 0 }
  const always = (): void => { told.always++ }
  store.onReady(always)
  const stop = store.onReady(() => {
    told.twice++
    if (told.twice === 2) stop()
  })
  const stopSame = store.onReady(always)
  await until(() => redis.status === 'reconnecting', 'a try to connect that failed')
  for (const times of [0, 1, 2, 3]) {
    await server.start()
    await until(() => redis.status === 'ready')
    // The same function that is passed twice is called twice, and once when one of both is removed.
    await until(() => told.always === (times === 3 ? 7 : (times + 1) * 2), `${times} times ready again`)
    t.equal(told.twice, Math.min(times + 1, 2))
    t.match(await store.claim(ID, aClaim()), { state: 'claimed' }, 'and the store can be asked by then')
    t.equal(redis.listenerCount('ready'), own + 1, 'with one listener on the client')
    if (times === 2) stopSame()
    await server.stop()
    await until(() => redis.status !== 'ready')
  }
  store.close()
  t.equal(redis.listenerCount('ready'), own, 'which is gone with the store')
  await server.start()
  await until(() => redis.status === 'ready')
  t.equal(told.always, 7)
})

t.test('a client that connects at its first try was not away', async (t) => {
  const redis = connectRedis(t)
  const store = openStore(t, redis, newPrefix())
  let told = 0
  store.onReady(() => { told++ })
  t.match(await store.claim(ID, aClaim()), { state: 'claimed' })
  t.equal(told, 0)
})

t.test('who waits is let go soon when Redis goes away, without an error', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const store = openStore(t, redis, 'idem:')
  await own(store)
  await server.stop()
  await until(() => redis.status !== 'ready')
  t.equal(await store.wait(ID, 600_000, never()), undefined)
})

t.test('who waits is let go to look again when the connection that wakes was lost and is back', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy })
  const store = openStore(t, redis, 'idem:')
  const { isAwaited } = viewOf(redis, 'idem:')
  const owned = await own(store)
  const { ended } = await waitFor(() => store.wait(ID, 600_000, never()), () => isAwaited(ID))
  const before = await subscribers(server.admin)
  t.equal(before.length, 1)
  await server.admin.client('KILL', 'TYPE', 'PUBSUB')
  await ended
  const again = store.wait(ID, 600_000, never())
  await until(async () => (await subscribers(server.admin)).some(id => !before.includes(id)))
  await store.complete(ID, owned, anOutcome())
  await again
  t.match(await store.claim(ID, aClaim()), { state: 'settled' })
})

const FAILURES: Array<[how: string, duplicate: () => Redis]> = [
  ['fails at once', () => { throw new Error('too many connections') }],
  ['is refused', () => new Redis({ port: 1, retryStrategy: () => null })]
]

for (const [how, duplicate] of FAILURES) {
  t.test(`who waits looks again now and then if the connection to be woken by ${how}`, async (t) => {
    const server = await ownRedis(t)
    const redis = connectRedis(t, { url: server.url })
    let tried = 0
    const value = (): Redis => {
      tried++
      return tried < 3 ? duplicate() : redis.duplicate()
    }
    const store = openStore(t, Object.create(redis, { duplicate: { value } }) as Redis, 'idem:')
    const { isAwaited } = viewOf(redis, 'idem:')
    const owned = await own(store)
    await store.wait(ID, 600_000, never())
    t.match(await store.claim(ID, aClaim()), { state: 'running' }, 'not settled yet')
    const { ended } = await waitFor(() => store.wait(ID, 600_000, never()), () => isAwaited(ID))
    t.equal(tried, 3, 'it tries to open one with each wait until there is one')
    await store.complete(ID, owned, anOutcome())
    await ended
    t.match(await store.claim(ID, aClaim()), { state: 'settled' })
  })
}

t.test('a store opens no connection before somebody waits, one for all who do, and closes it', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url })
  const store = openStore(t, redis, 'idem:')
  const { isAwaited } = viewOf(redis, 'idem:')
  const owned = await own(store)
  t.equal((await subscribers(server.admin)).length, 0)
  const wait = (): Promise<void> => store.wait(ID, 600_000, never())
  const [one, another] = await Promise.all([waitFor(wait, () => isAwaited(ID)), waitFor(wait, () => isAwaited(ID))])
  t.equal((await subscribers(server.admin)).length, 1)
  await store.complete(ID, owned, anOutcome())
  await Promise.all([one.ended, another.ended])
  store.close()
  await until(async () => (await subscribers(server.admin)).length === 0)
  t.equal(await redis.ping(), 'PONG', 'the app’s client stays open')
})

/** The ids of the connections that are subscribed. */
async function subscribers (admin: Redis): Promise<string[]> {
  const list = String(await admin.client('LIST', 'TYPE', 'PUBSUB'))
  return [...list.matchAll(/^id=(\d+)/gm)].map(([, id = '']) => id)
}

for (const [what, connect] of [
  [
    'lazy client without an offline queue',
    (t: Test, { url }: OwnRedis) => connectRedis(t, { url, enableOfflineQueue: false, lazyConnect: true })
  ],
  [
    'client without an offline queue',
    (t: Test, { url }: OwnRedis) => connectRedis(t, { url, enableOfflineQueue: false })
  ],
  ['lazy client', (t: Test, { url }: OwnRedis) => connectRedis(t, { url, lazyConnect: true })]
] as const) {
  t.test(`a ${what} loses neither the first claim nor the subscription`, async (t) => {
    const server = await ownRedis(t)
    const store = openStore(t, connect(t, server), 'idem:')
    t.match(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
    const { isAwaited } = viewOf(server.admin, 'idem:')
    const owner = openStore(t, connectRedis(t, { url: server.url }), 'idem:')
    const id = recordId('global', 'another')
    const owned = await own(owner, aClaim(), id)
    const { ended } = await waitFor(() => store.wait(id, 600_000, never()), () => isAwaited(id))
    t.equal((await subscribers(server.admin)).length, 1)
    await server.forgetCommands()
    await owner.complete(id, owned, anOutcome())
    await ended
    t.match(await server.commands(), { publish: 1 }, 'it was told, not left to look')
  })
}

t.test('a lazy client that cannot connect is told so, and is not waited for once it has given up', async (t) => {
  const redis = connectRedis(t, {
    url: 'redis://127.0.0.1:1',
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: () => null
  })
  const store = openStore(t, redis, 'idem:')
  await t.rejects(store.claim(ID, aClaim()), {
    name: 'StoreUnreachableError',
    message: "The Redis client is not connected (its status is 'end')"
  })
})

t.test('a client that had given up and is made to connect again is waited for', async (t) => {
  const server = await ownRedis(t, { started: false })
  const redis = connectRedis(t, { url: server.url, lazyConnect: true, retryStrategy: () => null })
  const store = openStore(t, redis, 'idem:')
  await t.rejects(store.claim(ID, aClaim()), StoreUnreachableError)
  await server.start()
  redis.connect().catch(() => {})
  t.match(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
})
