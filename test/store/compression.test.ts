import { randomBytes } from 'node:crypto'
import * as zlib from 'node:zlib'
import { pino } from 'pino'
import t from 'tap'
import { RecordUnreadableError } from '../../plugin/index.ts'
import { isSupported } from '../../plugin/store/compression.ts'
import type { CompressionSettings } from '../../plugin/store/compression.ts'
import type { KeptResponse, Outcome, Store } from '../../plugin/store/store.ts'
import { build, connectRedis, newPrefix } from '../helper.ts'
import type { Client } from '../helper.ts'
import { unpacked, VALKEY_8 } from '../servers/debian.ts'
import { storeContract } from './contract.ts'
import { aClaim, ANOTHER_REQUEST, ID, openStore, own, redisUnderTest } from './harness.ts'
import type { RedisUnderTest } from './harness.ts'
import { ownRedis } from './own-redis.ts'
import { settledRecord } from './settled.ts'

/*
 * Bodies that are compressed in Redis. Every process reads them, whatever its own option says, if its Node.js can.
 */

const BROTLI: CompressionSettings = { minSize: 100, algorithm: 'brotli' }
const ZSTD: CompressionSettings = { minSize: 100, algorithm: 'zstd' }
const HAS_ZSTD = isSupported('zstd')
const ALGORITHMS = HAS_ZSTD ? [BROTLI, ZSTD] : [BROTLI]

/** Compresses well. */
const PAYMENTS = JSON.stringify(Array.from({ length: 200 }, (_, i) => ({ payment: i, status: 'paid', note: 'für 🎁' })))

function responseOf (body: string | Buffer, headers: KeptResponse['headers'] = []): Outcome {
  return { statusCode: 201, response: { headers: [['content-type', 'application/json'], ...headers], body } }
}

/** Has the store complete the key, and returns the bytes of the record. */
async function recordOf ({ store, stored }: RedisUnderTest, outcome: Outcome): Promise<Buffer> {
  t.equal(await store.complete(ID, await own(store), outcome), true)
  return Buffer.from(await stored(ID) ?? '', 'hex')
}

/** The body that a duplicate gets. */
async function bodyFrom (store: Store, claim = aClaim()): Promise<Buffer | undefined> {
  const found = await store.claim(ID, claim)
  if (found.state !== 'settled') throw new Error(`the key is ${found.state}`)
  return found.outcome.response?.body as Buffer | undefined
}

/** The body that an operator sees. */
async function foundBody (store: Store): Promise<Buffer | undefined> {
  return (await store.find(ID))?.outcome?.response?.body as Buffer | undefined
}

for (const { algorithm } of ALGORITHMS) {
  // Every body that becomes smaller is compressed.
  storeContract(t, `RedisStore that compresses with ${algorithm}`, t =>
    redisUnderTest(t, { compress: { algorithm, minSize: 0 } })
  )
}

for (const compress of ALGORITHMS) {
  const { algorithm } = compress

  t.test(`with ${algorithm} a large JSON answer takes less than a quarter of its size in Redis, ` +
    'and is replayed byte for byte', async (t) => {
    const keyPrefix = newPrefix()
    const redis = connectRedis(t, { prefix: keyPrefix })
    const open = async (option: object): Promise<Client> => {
      const { app, listen } = await build(t, { redis, keyPrefix, ...option })
      app.post('/payments', { config: { idempotency: true } }, async (_request, reply) =>
        reply.type('application/json').send(PAYMENTS))
      app.post('/file', { config: { idempotency: true } }, async (_request, reply) =>
        reply.type('application/octet-stream').send(Buffer.alloc(50_000, 'bytes \xff\x00')))
      return listen()
    }
    const client = await open({ compress: { algorithm } })
    const other = await open({})
    for (const [path, size] of [['/payments', Buffer.byteLength(PAYMENTS)], ['/file', 50_000]] as const) {
      const first = await client.post(path, path)
      const [key = ''] = await redis.keys(`${keyPrefix}*`)
      t.ok(await redis.strlen(key) < size / 4, `${await redis.strlen(key)} bytes for ${size}`)
      for (const replay of [await client.post(path, path), await other.post(path, path)]) {
        t.match(replay, { status: 200, replayed: true, text: first.text })
        t.equal(replay.headers.get('content-type'), first.headers.get('content-type'))
        t.equal(replay.headers.get('content-length'), first.headers.get('content-length'))
      }
      await redis.del(key)
    }
  })

  t.test(`what is compressed with ${algorithm} is read by a process that does not compress, ` +
    'and by one that compresses otherwise', async (t) => {
    for (const body of [PAYMENTS, Buffer.from(PAYMENTS), 'ü'.repeat(100), Buffer.alloc(100_000, 0)]) {
      const under = await redisUnderTest(t, { compress })
      const record = await recordOf(under, responseOf(body))
      t.ok(record.length < 0.5 * Buffer.byteLength(body), `${record.length} bytes`)
      const { keyPrefix } = under
      for (const options of [{}, ...ALGORITHMS.map(compress => ({ compress })), { recordVersion: 1 as const }]) {
        const other = openStore(t, connectRedis(t), keyPrefix, options)
        const claim = aClaim({ alternativeFingerprint: () => aClaim().fingerprint })
        t.match(await other.claim(ID, claim), { state: 'settled', attempt: 1, outcome: { statusCode: 201 } })
        t.ok((await bodyFrom(other, claim))?.equals(Buffer.from(body as string)), 'the same bytes')
        t.ok((await foundBody(other))?.equals(Buffer.from(body as string)), 'an operator sees them too')
        const another = { ...claim, fingerprint: ANOTHER_REQUEST, alternativeFingerprint: () => ANOTHER_REQUEST }
        t.strictSame(await other.claim(ID, another), { state: 'mismatch' })
      }
    }
  })

  t.test(`a second completion with what ${algorithm} has compressed succeeds, ` +
    'and another outcome does not', async (t) => {
    const { store, other, stored } = await redisUnderTest(t, { compress })
    const owned = await own(store)
    const outcome = responseOf(PAYMENTS)
    t.equal(await store.complete(ID, owned, outcome), true)
    const before = await stored(ID)
    t.equal(await store.complete(ID, owned, outcome), true, 'the same outcome')
    t.equal(await store.complete(ID, owned, responseOf(PAYMENTS)), true, 'an equal one, compressed once more')
    t.equal(await other.complete(ID, owned, responseOf(Buffer.from(PAYMENTS))), true, 'as bytes')
    t.equal(await store.complete(ID, owned, responseOf(`${PAYMENTS} `)), false)
    t.equal(await store.release(ID, owned), false)
    t.equal(await store.withdraw(ID, owned), false)
    t.equal(await store.renew(ID, owned), false)
    t.equal(await store.markLeft(ID, owned), false)
    t.equal(await stored(ID), before)
  })

  t.test(`a record whose ${algorithm} body is damaged is unreadable, and nothing runs`, async (t) => {
    const under = await redisUnderTest(t, { compress })
    const { store, redis, keyPrefix } = under
    const record = await recordOf(under, responseOf(PAYMENTS))
    const bodyAt = record.indexOf('\n\n') + 2
    const damaged: Array<[what: string, record: Buffer]> = [
      // Node.js 22 does not ask for the last four bytes, the checksum of zstd, if it has the whole body.
      ['without its end', record.subarray(0, -5)],
      ['without its body', record.subarray(0, bodyAt)],
      ['with half a body', record.subarray(0, (bodyAt + record.length) / 2)],
      ['with other bytes', Buffer.concat([record.subarray(0, bodyAt), randomBytes(record.length - bodyAt)])],
      ['of a size that is too small', resized(record, size => size - 1)],
      ['of a size that is too large', resized(record, size => size + 1)],
      ['of no size', resized(record, () => 0)],
      ['of a size that no body has', resized(record, () => 2 ** 32 - 1)]
    ]
    for (const [what, value] of damaged) {
      await redis.set(keyPrefix + ID, value, 'PX', 60_000)
      await t.rejects(store.claim(ID, aClaim()), RecordUnreadableError, what)
      t.match(await store.find(ID), { state: 'unreadable', outcome: null }, what)
      t.strictSame(await store.claim(ID, aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
      t.ok((await redis.getBuffer(keyPrefix + ID))?.equals(value), `${what}: it stays as it is`)
    }
  })

  t.test(`a small ${algorithm} body that becomes larger than it says is not unpacked`, async (t) => {
    const { store, redis, keyPrefix } = await redisUnderTest(t)
    const bytes = algorithm === 'brotli'
      ? zlib.brotliCompressSync(Buffer.alloc(200_000_000))
      : zstdCompressSync(Buffer.alloc(200_000_000))
    const compressed = { algorithm, size: 10_000, bytes }
    const record = settledRecord({ ...aClaim(), attempt: 1 }, responseOf(''), 2, compressed)
    await redis.set(keyPrefix + ID, record, 'PX', 60_000)
    const before = process.memoryUsage().arrayBuffers
    await t.rejects(store.claim(ID, aClaim()), RecordUnreadableError)
    t.ok(process.memoryUsage().arrayBuffers - before < 50_000_000)
  })
}

t.test('bodies below minSize are stored as they are', async (t) => {
  const under = await redisUnderTest(t, { compress: { minSize: 300, algorithm: 'brotli' } })
  for (const body of ['x'.repeat(299), 'x'.repeat(300), 'ü'.repeat(149), 'ü'.repeat(150)]) {
    const isCompressed = Buffer.byteLength(body) >= 300
    const record = await recordOf(under, responseOf(body))
    t.equal(record.includes(body), !isCompressed)
    t.ok((await bodyFrom(under.store))?.equals(Buffer.from(body)))
    await under.store.forget(ID)
  }
})

t.test('bodies that do not shrink, and those that the app has compressed, are stored as they are', async (t) => {
  const under = await redisUnderTest(t, { compress: BROTLI })
  const random = randomBytes(10_000)
  const encoded: KeptResponse['headers'] = [['content-encoding', 'gzip']]
  for (const outcome of [responseOf(random), responseOf(PAYMENTS, encoded)]) {
    const body = Buffer.from(outcome.response?.body as string)
    t.ok((await recordOf(under, outcome)).includes(body))
    t.ok((await bodyFrom(under.store))?.equals(body))
    await under.store.forget(ID)
  }
  const removed: KeptResponse['headers'] = [['content-encoding', null]]
  t.notOk((await recordOf(under, responseOf(PAYMENTS, removed))).includes(PAYMENTS), 'the header was removed')
})

t.test('an outcome without a response is stored as before', async (t) => {
  const under = await redisUnderTest(t, { compress: BROTLI })
  await recordOf(under, { statusCode: 204, response: null })
  t.equal(await bodyFrom(under.store), undefined)
})

t.test('an outcome that Redis could not take is compressed once, and stored when Redis is back', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20, maxRetriesPerRequest: 0 })
  const store = openStore(t, redis, 'idem:', { compress: BROTLI })
  const owned = await own(store)
  await server.admin.config('SET', 'maxmemory', '1')
  const outcome = responseOf(PAYMENTS)
  await t.rejects(store.complete(ID, owned, outcome), { name: 'StoreRefusedError' })
  const { body } = outcome.response as KeptResponse
  Object.defineProperty(outcome.response, 'body', { get: () => body.length > 0 ? 'x'.repeat(1_000) : '' })
  await server.admin.config('SET', 'maxmemory', '0')
  t.equal(await store.complete(ID, owned, outcome), true)
  t.ok((await bodyFrom(store))?.equals(Buffer.from(PAYMENTS)), 'what was compressed at first')
})

t.test('while Redis takes no writes, duplicates still get what is compressed', async (t) => {
  const server = await ownRedis(t)
  const store = openStore(t, connectRedis(t, { url: server.url }), 'idem:', { compress: BROTLI })
  await store.complete(ID, await own(store), responseOf(PAYMENTS))
  await server.admin.config('SET', 'min-replicas-to-write', '1')
  t.ok((await bodyFrom(store))?.equals(Buffer.from(PAYMENTS)))
  const key = `idem:${ID}`
  await server.admin.config('SET', 'min-replicas-to-write', '0')
  await server.admin.setrange(key, (await server.admin.strlen(key)) / 2, 'damaged')
  await server.admin.config('SET', 'min-replicas-to-write', '1')
  await t.rejects(store.claim(ID, aClaim()), RecordUnreadableError)
})

const VALKEY = unpacked(VALKEY_8)

t.test('a server that compares and sets gets compressed bodies in one command', {
  skip: VALKEY === null && 'Valkey 8 cannot be had on this machine'
}, async (t) => {
  const server = await ownRedis(t, { binary: VALKEY as string })
  const store = openStore(t, connectRedis(t, { url: server.url }), 'idem:', { compress: BROTLI })
  await store.check(600_000, pino({ level: 'silent' }))
  const owned = await own(store)
  await server.forgetCommands()
  const outcome = responseOf(PAYMENTS)
  t.equal(await store.complete(ID, owned, outcome), true)
  t.strictSame(await server.commands(), { set: 1 })
  t.equal(await store.complete(ID, owned, outcome), true, 'a second time')
  t.ok((await bodyFrom(store))?.equals(Buffer.from(PAYMENTS)))
})

/** `{"paid":"ü"}` twenty times, as other releases of Node.js have compressed it. */
const TEXT = '{"paid":"ü"}'.repeat(20)
const STORED = {
  brotli: 'i4EAAICqqqrq/3Sny5FvNwbgi9zkLiDnm9wEDuDiV4pM0Y8D4EzooV1B/LHxyw==',
  zstd: 'KLUv/WQEAKUAAGh7InBhaWQiOiLDvCJ9AQB0oOYXmtwH1g=='
}

for (const algorithm of ['brotli', 'zstd'] as const) {
  const isRead = isSupported(algorithm)
  const title = isRead
    ? `what another process has compressed with ${algorithm} is read`
    : `where Node.js has no ${algorithm}, a duplicate of such a record is refused, and the error says why`
  t.test(title, async (t) => {
    const keyPrefix = newPrefix()
    const redis = connectRedis(t, { prefix: keyPrefix })
    const store = openStore(t, redis, keyPrefix)
    const compressed = { algorithm, size: Buffer.byteLength(TEXT), bytes: Buffer.from(STORED[algorithm], 'base64') }
    const owned = { ...aClaim(), attempt: 1 }
    await redis.set(keyPrefix + ID, settledRecord(owned, responseOf(''), 2, compressed), 'PX', 60_000)
    if (isRead) {
      t.equal(String(await bodyFrom(store)), TEXT)
      return
    }
    await t.rejects(store.claim(ID, aClaim()), {
      name: 'RecordUnreadableError',
      message: /compressed with zstd, which this Node\.js cannot read \(v.+\): Node\.js 22\.15 or later is needed/
    })
    t.match(await store.find(ID), { state: 'unreadable' })
    t.strictSame(await store.claim(ID, aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
  })
}

/** The record with another size of its body before. */
function resized (record: Buffer, change: (size: number) => number): Buffer {
  const [head = '', size = ''] = record.toString('latin1', 0, record.indexOf('\n')).split(',')
  const changed = change(Number.parseInt(size, 16)).toString(16)
  return Buffer.concat([Buffer.from(`${head},${changed}`), record.subarray(record.indexOf('\n'))])
}

function zstdCompressSync (bytes: Buffer): Buffer {
  return (zlib as unknown as { zstdCompressSync: typeof zlib.brotliCompressSync }).zstdCompressSync(bytes)
}
