import { PassThrough } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { recordId } from '../plugin/core/record-id.ts'
import type { IdempotencyOptions, Store } from '../plugin/index.ts'
import { build, connectRedis, gate, MemoryStore, until } from './helper.ts'
import type { Client, TestApp } from './helper.ts'
import { methodsOf } from './store/harness.ts'
import { ownRedis } from './store/own-redis.ts'
import type { OwnRedis } from './store/own-redis.ts'

/** Longer than any test takes. */
const HOUR = 3_600_000

interface Process extends TestApp {
  client: Client
  /** How often the handler of POST /x ran in this process. */
  runs (): number
}

/** An app with a POST /x on a Redis that several apps share, as several processes do. */
async function processOn (
  t: Test, server: OwnRedis, options: Partial<IdempotencyOptions> = {}, route: (app: FastifyInstance) => void = () => {}
): Promise<Process> {
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  await until(() => redis.status === 'ready')
  const built = await build(t, { redis, replayCache: {}, ...options })
  let runs = 0
  built.app.post('/x', { config: { idempotency: true } }, async () => ({ run: ++runs }))
  route(built.app)
  const client = await built.listen()
  await server.forgetCommands()
  return { ...built, client, runs: () => runs }
}

/** A store that the plugin takes for one of other people. */
function customStore (methods: Partial<Store> = {}): Store {
  return { ...methodsOf(new MemoryStore()), ...methods }
}

t.test('a duplicate that meets the process which answered is answered without a command to Redis', async (t) => {
  const server = await ownRedis(t)
  const { app, client, runs } = await processOn(t, server)
  const first = await client.post('/x', 'k', { amount: 1 })
  await server.forgetCommands()
  for (let i = 0; i < 3; i++) {
    const again = await client.post('/x', 'k', { amount: 1 })
    t.same([again.status, again.text, again.replayed], [first.status, first.text, true])
    t.equal(again.headers.get('content-type'), first.headers.get('content-type'))
  }
  t.strictSame(await server.commands(), {})
  t.equal(runs(), 1)
  t.match(app.idempotency.stats(), { claimed: 1, replayed: 3, cached: 3, cacheEntries: 1 })
})

t.test('a duplicate that meets another process asks Redis once, and the next ones there ask nothing', async (t) => {
  const server = await ownRedis(t)
  const one = await processOn(t, server)
  const two = await processOn(t, server)
  await one.client.post('/x', 'k')
  await server.forgetCommands()
  for (let i = 0; i < 3; i++) t.equal((await two.client.post('/x', 'k')).text, '{"run":1}')
  t.strictSame(await server.commands(), { set: 1 })
  t.equal(two.runs(), 0)
  t.match(two.app.idempotency.stats(), { replayed: 3, cached: 2 })
})

for (const onStoreError of ['reject', 'bypass'] as const) {
  t.test(`while Redis is stopped, duplicates still get the first answer (onStoreError: ${onStoreError})`, async (t) => {
    const server = await ownRedis(t)
    const { app, client, runs } = await processOn(t, server, { onStoreError })
    await client.post('/x', 'k')
    await server.stop()
    for (let i = 0; i < 3; i++) {
      const again = await client.post('/x', 'k')
      t.same([again.status, again.text, again.replayed], [200, '{"run":1}', true])
    }
    t.equal(runs(), 1)
    t.match(app.idempotency.stats(), { cached: 3, bypassed: 0, storeErrors: 0 })
    const other = await client.post('/x', 'another')
    t.equal(other.status, onStoreError === 'bypass' ? 200 : 503, 'a new key needs Redis')
  })
}

t.test('answers with the same headers and with others are each replayed with their own headers', async (t) => {
  const { app, listen } = await build(t, { store: customStore(), replayCache: {} })
  const HEADERS = [{ 'x-a': '1' }, { 'x-a': '1' }, { 'x-a': '2' }, { 'x-b': '1' }, { 'x-a': '1', 'x-b': '1' }, {}]
  for (const [i, headers] of HEADERS.entries()) {
    app.post(`/${i}`, { config: { idempotency: true } }, async (_request, reply) => reply.headers(headers).send({ i }))
  }
  const client = await listen()
  const send = async (i: number): Promise<object> => {
    const { text, headers } = await client.post(`/${i}`, `k${i}`)
    return { text, a: headers.get('x-a'), b: headers.get('x-b'), type: headers.get('content-type') }
  }
  const first: object[] = []
  for (const i of HEADERS.keys()) first.push(await send(i))
  for (const i of HEADERS.keys()) t.same(await send(i), first[i])
  t.equal(app.idempotency.stats().cached, HEADERS.length)
})

t.test('an outcome that Redis did not take is answered until it has it, and asked for afterwards', async (t) => {
  const server = await ownRedis(t)
  const finish = gate()
  const { app, client } = await processOn(t, server, {}, (app) => {
    app.post('/slow', { config: { idempotency: true } }, async () => {
      await finish.opened
      return 'done'
    })
  })
  const first = client.post('/slow', 'k')
  await until(() => app.idempotency.stats().running === 1)
  await server.stop()
  finish.open()
  t.equal((await first).text, 'done')
  t.match(app.idempotency.stats(), { pending: 1, cacheEntries: 0 })
  t.equal((await client.post('/slow', 'k')).text, 'done')
  t.match(app.idempotency.stats(), { replayed: 1, cached: 0 }, 'from the retry queue')
  await server.start()
  await until(() => app.idempotency.stats().pending === 0, 'Redis has the outcome')
  t.equal((await client.post('/slow', 'k')).text, 'done')
  t.match(app.idempotency.stats(), { replayed: 2, cached: 0, cacheEntries: 1 })
})

t.test('another request with the key asks Redis and gets a 422, and the first one is still answered', async (t) => {
  const server = await ownRedis(t)
  const { client, runs } = await processOn(t, server)
  await client.post('/x', 'k', { amount: 1 })
  await server.forgetCommands()
  t.equal((await client.post('/x', 'k', { amount: 2 })).status, 422)
  t.strictSame(await server.commands(), { set: 1 })
  t.ok((await client.post('/x', 'k', { amount: 1 })).replayed)
  t.strictSame(await server.commands(), { set: 1 })
  t.equal(runs(), 1)
})

t.test('after maxAge a duplicate asks Redis again', async (t) => {
  const server = await ownRedis(t)
  const { client, passTime } = await processOn(t, server, { replayCache: { maxAge: 60_000 } })
  await client.post('/x', 'k')
  await passTime(59_000)
  await server.forgetCommands()
  t.ok((await client.post('/x', 'k')).replayed)
  t.strictSame(await server.commands(), {})
  await passTime(1_000)
  await server.forgetCommands()
  t.ok((await client.post('/x', 'k')).replayed)
  t.strictSame(await server.commands(), { set: 1 })
})

t.test('an outcome is not replayed beyond its retention, not even where a route has a shorter one', async (t) => {
  const server = await ownRedis(t)
  const { client, passTime } = await processOn(t, server, { replayCache: { maxAge: HOUR } }, (app) => {
    let runs = 0
    app.post('/short', { config: { idempotency: { retention: 60_000 } } }, async () => `run ${++runs}`)
  })
  t.equal((await client.post('/short', 'k')).text, 'run 1')
  await passTime(59_000)
  t.equal((await client.post('/short', 'k')).text, 'run 1')
  await passTime(1_001)
  t.equal((await client.post('/short', 'k')).text, 'run 2')
})

t.test('an outcome of another process whose retention is not longer than maxAge is asked for each time', async (t) => {
  const server = await ownRedis(t)
  const options = { retention: 60_000, replayCache: { maxAge: 60_000 } }
  const one = await processOn(t, server, options)
  const two = await processOn(t, server, options)
  await one.client.post('/x', 'k')
  for (let i = 0; i < 2; i++) t.ok((await two.client.post('/x', 'k')).replayed)
  t.match(two.app.idempotency.stats(), { replayed: 2, cached: 0, cacheEntries: 0 })
})

t.test('maxSize bounds the memory: the oldest outcomes leave first, and are asked for', async (t) => {
  const server = await ownRedis(t)
  const maxSize = 16_384
  const { app, client } = await processOn(t, server, { replayCache: { maxSize, maxAge: HOUR } }, (app) => {
    app.post<{ Body: { size: number } }>('/sized', { config: { idempotency: true } }, async ({ body: { size } }) =>
      Buffer.alloc(size))
  })
  for (let i = 0; i < 50; i++) {
    await client.post('/sized', `k${i}`, { size: 1_000 })
    t.ok(app.idempotency.stats().cacheSize <= maxSize)
  }
  const { cacheEntries, cacheSize } = app.idempotency.stats()
  t.ok(cacheEntries > 5 && cacheEntries < 15, `${cacheEntries} entries`)
  t.ok(cacheSize > maxSize / 2, `${cacheSize} bytes`)
  await server.forgetCommands()
  t.ok((await client.post('/sized', 'k49', { size: 1_000 })).replayed)
  t.strictSame(await server.commands(), {}, 'the newest')
  t.ok((await client.post('/sized', 'k0', { size: 1_000 })).replayed)
  t.strictSame(await server.commands(), { set: 1 }, 'the oldest')
})

t.test('an outcome above a quarter of maxSize is not kept in memory, and pushes out nothing', async (t) => {
  const server = await ownRedis(t)
  const { app, client } = await processOn(t, server, { replayCache: { maxSize: 16_384 } }, (app) => {
    app.post('/large', { config: { idempotency: true } }, async () => 'x'.repeat(4_096))
  })
  await client.post('/x', 'small')
  await client.post('/large', 'large')
  t.equal(app.idempotency.stats().cacheEntries, 1)
  await server.forgetCommands()
  t.ok((await client.post('/large', 'large')).replayed)
  t.strictSame(await server.commands(), { set: 1 })
  t.ok((await client.post('/x', 'small')).replayed)
  t.strictSame(await server.commands(), { set: 1 })
})

t.test('expired outcomes make room for new ones without a timer', async (t) => {
  const { app, passTime } = await build(t, { store: customStore(), replayCache: {} })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const send = (key: string): Promise<unknown> =>
    app.inject({ method: 'POST', url: '/x', headers: { 'idempotency-key': key } })
  for (let i = 0; i < 20; i++) await send(`early-${i}`)
  await passTime(5_000)
  for (let i = 0; i < 10; i++) await send(`late-${i}`)
  t.match(app.idempotency.stats(), { claimed: 30, cacheEntries: 10 })
})

t.test('a response that could not be kept is asked for each time', async (t) => {
  const { app, listen } = await build(t, { store: customStore(), replayCache: {}, maxBodySize: 10 })
  app.post('/x', { config: { idempotency: true } }, async () => 'more than ten characters')
  const client = await listen()
  await client.post('/x', 'k')
  for (let i = 0; i < 2; i++) t.equal((await client.post('/x', 'k')).json.code, 'FST_IDEMPOTENCY_NOT_REPLAYABLE')
  t.match(app.idempotency.stats(), { conflicts: 2, cached: 0, cacheEntries: 0 })
})

t.test('after another request took a lost key in this process, the first one is a 422', async (t) => {
  const store = customStore()
  const { app, listen } = await build(t, { store, replayCache: {}, maxBodySize: 100 })
  app.post('/x', { config: { idempotency: true } }, async request =>
    (request.body as { amount: number }).amount === 1 ? 'small' : 'large'.repeat(100))
  const client = await listen()
  t.equal((await client.post('/x', 'k', { amount: 1 })).text, 'small')
  // As after a loss of the record: this process does not learn of it.
  await store.forget(recordId('global', 'k'))
  t.equal((await client.post('/x', 'k', { amount: 2 })).status, 200)
  t.equal((await client.post('/x', 'k', { amount: 1 })).status, 422)
})

t.test('an outcome that came too late, after another attempt had taken the key over, is not kept', async (t) => {
  const { app, listen } = await build(t, { store: customStore({ complete: async () => false }), replayCache: {} })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.equal(app.idempotency.stats().cacheEntries, 0)
})

t.test('forget: the next request runs, in the process that forgets', async (t) => {
  const server = await ownRedis(t)
  const { app, client } = await processOn(t, server)
  await client.post('/x', 'k')
  t.ok((await client.post('/x', 'k')).replayed)
  t.equal(await app.idempotency.forget('k', 'global'), true)
  t.equal((await client.post('/x', 'k')).text, '{"run":2}')
  t.equal((await client.post('/x', 'k')).text, '{"run":2}')
})

t.test('forget: another process that has a connection for its waiters drops the outcome at once', async (t) => {
  const server = await ownRedis(t)
  const options = { onConflict: 'wait', replayCache: { maxAge: HOUR } } as const
  const finish = gate()
  const held = (app: FastifyInstance): void => {
    app.post('/held', { config: { idempotency: true } }, async () => {
      await finish.opened
      return 'done'
    })
  }
  const one = await processOn(t, server, options, held)
  const two = await processOn(t, server, options, held)
  const running = one.client.post('/held', 'held')
  await until(() => one.app.idempotency.stats().running === 1)
  const waiting = two.client.post('/held', 'held')
  await until(async () => (await server.admin.pubsub('NUMSUB', 'idem:settled'))[1] === 1, 'the connection')
  finish.open()
  await Promise.all([running, waiting])

  await one.client.post('/x', 'k')
  t.ok((await two.client.post('/x', 'k')).replayed)
  t.equal(await one.app.idempotency.forget('k', 'global'), true)
  await until(async () => !(await two.client.post('/x', 'k')).replayed, 'a new run')
  t.equal(two.runs(), 1)
  t.ok((await one.client.post('/x', 'k')).replayed, 'the process that forgot has the outcome of the new run')
  t.equal(one.runs(), 1)
})

t.test('forget: a process without such a connection answers for up to maxAge', async (t) => {
  const server = await ownRedis(t)
  const one = await processOn(t, server, { replayCache: { maxAge: 60_000 } })
  const two = await processOn(t, server, { replayCache: { maxAge: 60_000 } })
  await one.client.post('/x', 'k')
  t.ok((await two.client.post('/x', 'k')).replayed)
  await one.app.idempotency.forget('k', 'global')
  t.ok((await two.client.post('/x', 'k')).replayed)
  await two.passTime(60_000)
  t.notOk((await two.client.post('/x', 'k')).replayed)
  t.equal(two.runs(), 1)
})

/** A store in memory whose answers to one method arrive when the test wants. */
function lateStore (store: Store, method: 'claim' | 'complete'): LateStore {
  const asked = gate()
  const { opened, open } = gate()
  let forgotten!: (id: string) => void
  const late = async <T>(result: T): Promise<T> => {
    asked.open()
    await opened
    return result
  }
  return {
    store: {
      ...methodsOf(store),
      ...(method === 'claim'
        ? { claim: async (id, claim) => late(await store.claim(id, claim)) }
        : { complete: async (id, owned, outcome) => late(await store.complete(id, owned, outcome)) }),
      onForgotten (listener) {
        forgotten = listener
        return () => {}
      }
    },
    asked: asked.opened,
    answer: open,
    tell: id => { forgotten(id) }
  }
}

interface LateStore {
  store: Store
  /** Resolves when the store has done what it was asked, and not answered yet. */
  asked: Promise<void>
  answer (): void
  /** Says that another process has forgotten a record. */
  tell (id: string): void
}

for (const method of ['claim', 'complete'] as const) {
  for (const where of ['this process', 'another process'] as const) {
    t.test(`forget in ${where}: an outcome whose ${method} is under way is not kept afterwards`, async (t) => {
      const records = new MemoryStore()
      const one = await build(t, { store: customStore(methodsOf(records)) })
      const late = lateStore(records, method)
      const two = await build(t, { store: late.store, replayCache: {} })
      let runs = 0
      for (const { app } of [one, two]) app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
      const [client, other] = [await one.listen(), await two.listen()]
      if (method === 'claim') await client.post('/x', 'k')
      const underWay = other.post('/x', 'k')
      await late.asked
      if (where === 'this process') await two.app.idempotency.forget('k', 'global')
      else await one.app.idempotency.forget('k', 'global').then(() => { late.tell(recordId('global', 'k')) })
      late.answer()
      t.equal((await underWay).text, 'run 1')
      t.equal(two.app.idempotency.stats().cacheEntries, 0)
      t.equal((await other.post('/x', 'k')).text, 'run 2')
      t.equal((await other.post('/x', 'k')).text, 'run 2')
      t.equal(two.app.idempotency.stats().cached, 1)
    })
  }
}

t.test('a forget that the store refuses leaves the record, and the next duplicate asks for it', async (t) => {
  let claims = 0
  const records = new MemoryStore()
  const { app, listen } = await build(t, {
    replayCache: {},
    store: customStore({
      ...methodsOf(records),
      claim: (id, claim) => records.claim(id, claim).finally(() => { claims++ }),
      forget: async () => { throw new Error('away') }
    })
  })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k')
  await t.rejects(app.idempotency.forget('k', 'global'), { message: 'away' })
  t.ok((await client.post('/x', 'k')).replayed)
  t.equal(claims, 2)
})

/** Changes what it can of an answer, in place. */
function spoil (app: FastifyInstance): void {
  app.addHook('onSend', async (_request, reply, payload) => {
    if (payload instanceof Uint8Array) payload.fill(0x21)
    const list = reply.getHeader('x-list')
    if (Array.isArray(list)) list.push('added')
    return payload
  })
}

for (const when of ['before', 'after'] as const) {
  t.test(`an onSend hook that changes an answer in place, registered ${when} the plugin, ` +
    'does not change what the next duplicates get', async (t) => {
    const server = await ownRedis(t)
    const redis = connectRedis(t, { url: server.url })
    const built = await build(t, { redis, replayCache: {} }, (app) => { if (when === 'before') spoil(app) })
    const { app } = built
    if (when === 'after') spoil(app)
    const bodies = {
      bytes: () => Buffer.from('bytes'),
      stream: () => new PassThrough().end('stream'),
      text: () => 'text'
    }
    for (const [name, body] of Object.entries(bodies)) {
      app.post(`/${name}`, { config: { idempotency: true } }, async (_request, reply) => {
        reply.header('x-list', ['a', 'b']).type('text/plain')
        return body()
      })
    }
    const client = await built.listen()
    for (const name of Object.keys(bodies)) {
      await client.post(`/${name}`, 'k')
      const kept = (await app.idempotency.find('k', 'global'))?.response?.body.toString()
      t.equal(kept, when === 'before' && name === 'bytes' ? '!!!!!' : name)
      await server.forgetCommands()
      const replays = [await client.post(`/${name}`, 'k'), await client.post(`/${name}`, 'k')] as const
      t.strictSame(await server.commands(), {}, 'from memory')
      t.equal(replays[0].text, replays[1].text)
      t.equal(replays[0].headers.get('x-list'), replays[1].headers.get('x-list'))
      await app.idempotency.forget('k', 'global')
    }
  })
}

t.test('a second call of app.idempotency.run() gets the value from memory, and may change it', async (t) => {
  const server = await ownRedis(t)
  const { app } = await processOn(t, server)
  const operation = { scope: 'queue', key: 'm-1', fingerprint: { message: 1 } }
  let runs = 0
  const work = (): { runs: number } => ({ runs: ++runs })
  await app.idempotency.run(operation, work)
  await server.forgetCommands()
  for (let i = 0; i < 2; i++) {
    const value = await app.idempotency.run(operation, work)
    t.same(value, { runs: 1 })
    value.runs = 7
  }
  t.strictSame(await server.commands(), {})
  t.match(app.idempotency.stats(), { replayed: 2, cached: 2 })
})

t.test('duplicates that wait in the process of the run ask Redis nothing when it ends', async (t) => {
  const server = await ownRedis(t)
  const finish = gate()
  const { app, client } = await processOn(t, server, { onConflict: 'wait' }, (app) => {
    app.post('/held', { config: { idempotency: true } }, async () => {
      await finish.opened
      return 'done'
    })
  })
  const running = client.post('/held', 'k')
  await until(() => app.idempotency.stats().running === 1)
  const waiting = [client.post('/held', 'k'), client.post('/held', 'k')]
  await until(() => app.idempotency.stats().waiting === 2)
  // Redis learns the script.
  await client.post('/x', 'another')
  await server.forgetCommands()
  finish.open()
  await running
  t.ok((await Promise.all(waiting)).every(({ text, replayed }) => text === 'done' && replayed))
  t.strictSame(await server.commands(), { evalsha: 1, get: 1, set: 1 }, 'the completion')
  t.match(app.idempotency.stats(), { waited: 2, cached: 2 })
})

t.test('replayCache: false: every duplicate asks Redis', async (t) => {
  const server = await ownRedis(t)
  const { app, client } = await processOn(t, server, { replayCache: false })
  await client.post('/x', 'k')
  await server.forgetCommands()
  for (let i = 0; i < 3; i++) t.ok((await client.post('/x', 'k')).replayed)
  t.strictSame(await server.commands(), { set: 3 })
  t.match(app.idempotency.stats(), { replayed: 3, cached: 0, cacheEntries: 0, cacheSize: 0 })
  await server.stop()
  t.equal((await client.post('/x', 'k')).status, 503)
})

t.test('a MemoryStore has its outcomes in memory already, and no second copy of them', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), replayCache: { maxSize: 1_048_576 } })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  for (let i = 0; i < 2; i++) t.equal((await client.post('/x', 'k')).text, 'done')
  t.match(app.idempotency.stats(), { replayed: 1, cached: 0, cacheEntries: 0 })
})
