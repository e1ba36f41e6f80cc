import t from 'tap'
import { encodeReleased, encodeRunning, RECORD_VERSION, RECORD_VERSIONS } from '../../plugin/store/record.ts'
import type { Redis } from 'ioredis'
import { RecordUnreadableError } from '../../plugin/index.ts'
import type { Claim } from '../../plugin/index.ts'
import { connectRedis, newPrefix, until } from '../helper.ts'
import { storeContract } from './contract.ts'
import { aClaim, anOutcome, ID, isAbout, openStore, own, redisUnderTest } from './harness.ts'
import type { RedisUnderTest } from './harness.ts'

storeContract(t, 'RedisStore', t => redisUnderTest(t))
storeContract(t, 'RedisStore on a client without autopipelining', t =>
  redisUnderTest(t, { enableAutoPipelining: false })
)
storeContract(t, 'RedisStore on a client that speaks RESP2 and gives numbers as text', t =>
  redisUnderTest(t, { protocol: 2, stringNumbers: true })
)
storeContract(t, 'RedisStore that writes records of version 1', t => redisUnderTest(t, { recordVersion: 1 }))
storeContract(t, 'RedisStore on a client with a keyPrefix', t => redisUnderTest(t, { keyPrefix: 'test:app:' }))

t.test('a record stands under the client’s prefix, the store’s and its id, and nowhere else', async (t) => {
  const { store, keyPrefix } = await redisUnderTest(t, { keyPrefix: 'test:app:' })
  const plain = connectRedis(t)
  await store.complete(ID, await own(store), anOutcome())
  t.strictSame(await plain.keys(`*${keyPrefix}*`), [`test:app:${keyPrefix}${ID}`])
  t.equal(await store.forget(ID), true)
  t.strictSame(await plain.keys(`*${keyPrefix}*`), [])
})

t.test('stores with different prefixes do not see each other’s keys', async (t) => {
  const { store, redis } = await redisUnderTest(t)
  const prefix = newPrefix()
  const another = openStore(t, connectRedis(t, { prefix }), prefix)
  await own(store)
  t.match(await another.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
  t.equal(await redis.exists(`${prefix}${ID}`), 1)
})

for (const attempt of [127, 128, 255, 256, 65_535, 2 ** 31 - 1, 2 ** 32 - 2]) {
  t.test(`attempt ${attempt + 1} follows attempt ${attempt}`, async (t) => {
    const { store, redis, keyPrefix } = await redisUnderTest(t)
    await redis.set(keyPrefix + ID, encodeReleased({ ...aClaim(), attempt }, RECORD_VERSION))
    const owned = await own(store)
    t.equal(owned.attempt, attempt + 1)
    t.match(await store.find(ID), { state: 'running', attempt: attempt + 1 })
  })
}

t.test('the longest lease and retention there are pass through every script', async (t) => {
  const { store, other, expireLease, expireRecord } = await redisUnderTest(t)
  const claim = aClaim({ lease: 2 ** 31 - 1, retention: 2 ** 47 })
  const first = await own(store, claim)
  await expireLease(ID)
  t.equal(await store.renew(ID, first), true)
  isAbout(t, (await store.find(ID))?.leaseLeft, 2 ** 31 - 1)
  await expireLease(ID)
  const second = await own(other, { ...claim, owner: aClaim().owner })
  t.equal(second.attempt, 2)
  isAbout(t, (await store.find(ID))?.leaseLeft, 2 ** 31 - 1)
  await expireRecord(ID)
  t.equal(await other.renew(ID, second), true)
  isAbout(t, (await store.find(ID))?.leaseLeft, 2 ** 31 - 1)
  t.equal(await other.complete(ID, second, anOutcome()), true)
  isAbout(t, (await store.find(ID))?.expiresIn, 2 ** 47)
})

t.test('requests with one key are told apart by 43 characters of the fingerprint while it runs, ' +
  'and by 22 when it is settled', async (t) => {
  const { store, other } = await redisUnderTest(t)
  const claim = aClaim({ fingerprint: 'f'.repeat(43) })
  const withAnother = (at: number): Claim =>
    aClaim({ fingerprint: `${'f'.repeat(at)}g${'f'.repeat(42 - at)}`, lease: 2_000 })
  const owned = await own(store, claim)
  for (const at of [0, 21, 22, 42]) t.match(await other.claim(ID, withAnother(at)), { state: 'mismatch' })
  t.equal(await store.complete(ID, owned, anOutcome()), true)
  for (const at of [0, 21]) t.match(await other.claim(ID, withAnother(at)), { state: 'mismatch' })
  for (const at of [22, 42]) t.match(await other.claim(ID, withAnother(at)), { state: 'settled', attempt: 1 })
  t.match(await other.claim(ID, claim), { state: 'settled', attempt: 1 })
})

t.test('after a claim that took over was withdrawn, only the same request and attempt completes', async (t) => {
  for (const recordVersion of RECORD_VERSIONS) {
    const { store, other, expireLease, stored } = await redisUnderTest(t, { recordVersion })
    const owned = await own(store, aClaim({ fingerprint: 'f'.repeat(43) }))
    await expireLease(ID)
    const second = aClaim({ fingerprint: 'f'.repeat(43) })
    t.match(await other.claim(ID, second), { state: 'claimed', attempt: 2 })
    t.equal(await other.withdraw(ID, second), true)
    const before = await stored(ID)
    t.equal(await store.complete(ID, { ...owned, attempt: 2 }, anOutcome()), false)
    t.equal(await store.complete(ID, { ...owned, attempt: 0x11 }, anOutcome()), false)
    t.equal(await store.complete(ID, { ...owned, fingerprint: `g${'f'.repeat(42)}` }, anOutcome()), false)
    t.equal(await stored(ID), before)
    t.equal(await store.complete(ID, owned, anOutcome()), true)
  }
})

const FOREIGN: Array<[what: string, put: (redis: Redis, key: string) => Promise<unknown>]> = [
  ['a text', (redis, key) => redis.set(key, 'somebody else’s')],
  ['a text as long as a record', (redis, key) => redis.set(key, 'x'.repeat(100))],
  ['an empty list that became one', (redis, key) => redis.rpush(key, 'a')],
  ['an empty text', (redis, key) => redis.set(key, '')],
  [
    'a record that was cut short',
    (redis, key) => redis.set(key, encodeRunning(aClaim(), 1, RECORD_VERSION).slice(0, -1))
  ],
  ['a record whose attempt is no number', (redis, key) => redis.set(key, encodeRunning(aClaim(), NaN, RECORD_VERSION))],
  ['a hash', (redis, key) => redis.hset(key, 'a', 'b')],
  ['a record of a later version', (redis, key) => redis.set(key, laterVersion())]
]

for (const [what, put] of FOREIGN) {
  t.test(`${what} under the key is an error, and is never overwritten`, async (t) => {
    const { store, redis, keyPrefix } = await redisUnderTest(t)
    const key = keyPrefix + ID
    await put(redis, key)
    const before = await redis.dumpBuffer(key)
    const owned = { ...aClaim(), attempt: 1 }
    await t.rejects(store.claim(ID, owned), RecordUnreadableError, 'claim')
    await t.rejects(store.renew(ID, owned), RecordUnreadableError, 'renew')
    await t.rejects(store.complete(ID, owned, anOutcome()), RecordUnreadableError, 'complete')
    await t.rejects(store.release(ID, owned), RecordUnreadableError, 'release')
    await t.rejects(store.withdraw(ID, owned), RecordUnreadableError, 'withdraw')
    await t.rejects(store.markLeft(ID, owned), RecordUnreadableError, 'markLeft')
    await store.wait(ID, 10, new AbortController().signal)
    t.strictSame(await redis.dumpBuffer(key), before)
    t.equal(await redis.pttl(key), -1, 'and never begins to expire')
    t.strictSame(await store.find(ID), {
      state: 'unreadable',
      attempt: 0,
      expiresIn: Infinity,
      leaseLeft: null,
      outcome: null
    })
    await redis.pexpire(key, 60_000)
    isAbout(t, (await store.find(ID))?.expiresIn, 60_000)
    t.equal(await store.forget(ID), true, 'an operator can erase it')
    t.equal(await redis.exists(key), 0)
  })
}

t.test('the take-over script checks the version too, should the value change between its two commands', async (t) => {
  const { store, redis, keyPrefix } = await redisUnderTest(t)
  await own(store)
  const meddled = Object.create(redis, {
    setBuffer: {
      value: async (...args: Parameters<Redis['setBuffer']>) => {
        const found = await redis.setBuffer(...args)
        await redis.set(keyPrefix + ID, laterVersion())
        return found
      }
    }
  }) as Redis
  await t.rejects(openStore(t, meddled, keyPrefix).claim(ID, aClaim()), RecordUnreadableError)
  t.strictSame(await redis.getBuffer(keyPrefix + ID), laterVersion())
})

t.test('a Redis older than 7.0 is named as the reason', async (t) => {
  const { redis, keyPrefix } = await redisUnderTest(t)
  const old = Object.create(redis, {
    setBuffer: { value: async () => { throw new Error('ERR syntax error') } }
  }) as Redis
  await t.rejects(openStore(t, old, keyPrefix).claim(ID, aClaim()), {
    message: /^Redis 7\.0 or later is needed/,
    cause: { message: 'ERR syntax error' }
  })
})

t.test('a hundred who claim one key at once: one is granted it', async (t) => {
  const { store, other } = await redisUnderTest(t)
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? store : other).claim(ID, aClaim()))
  )
  t.equal(results.filter(({ state }) => state === 'claimed').length, 1)
  t.equal(results.filter(({ state }) => state === 'running').length, 99)
})

t.test('a store that is closed lets go of who waits, and leaves the app’s client open', async (t) => {
  const under: RedisUnderTest = await redisUnderTest(t)
  const listeners = under.redis.listenerCount('ready')
  const closing = openStore(t, under.redis, under.keyPrefix)
  await own(under.store)
  const waiting = closing.wait(ID, 600_000, new AbortController().signal)
  await until(() => under.isAwaited(ID))
  closing.close()
  await waiting
  t.equal(await under.redis.ping(), 'PONG')
  t.equal(under.redis.listenerCount('ready'), listeners, 'no listener is left on it')
})

function laterVersion (): Buffer {
  return Buffer.from(`3${encodeRunning(aClaim({ owner: 'o'.repeat(18) }), 1, RECORD_VERSION).slice(1)}`)
}
