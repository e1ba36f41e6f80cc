import { AsyncLocalStorage } from 'node:async_hooks'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { build, connectRedis, gate, holdRoute, MemoryStore, until } from './helper.ts'
import type { TestApp } from './helper.ts'
import { StoreUnreachableError } from '../plugin/index.ts'
import type { ClaimResult } from '../plugin/index.ts'
import { startRedis } from './servers/redis.ts'
import type { RedisServer } from './servers/redis.ts'

/** An app on a Redis of its own, which the test may stop, kill and freeze. */
async function buildOnRedis (
  t: Test,
  options: Parameters<typeof build>[1] = {}
): Promise<TestApp & { server: RedisServer }> {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  await until(() => redis.status === 'ready')
  return { server, ...await build(t, { redis, ...options }) }
}

t.test('Redis stopped before the claim: a 503 that says when to come back, and nothing runs', async (t) => {
  const { app, listen, server } = await buildOnRedis(t, { retryAfter: 3 })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  app.post('/unprotected', async () => 'fine')
  const client = await listen()
  await server.kill()
  const start = performance.now()
  const answer = await client.post('/x', 'k')
  t.equal(answer.status, 503)
  t.equal(answer.json.code, 'FST_IDEMPOTENCY_STORE_UNAVAILABLE')
  t.equal(answer.json.retryable, true)
  t.equal(answer.headers.get('retry-after'), '3')
  t.ok(performance.now() - start < 60_000, 'a client that lost its connection is not waited for')
  t.equal(runs, 0)
  t.equal((await client.post('/unprotected')).text, 'fine')

  const again = await startRedis({ port: server.port })
  t.teardown(() => again.stop())
  await until(async () => (await client.post('/x', 'k')).text === 'run 1', 'the app working again')
  t.equal((await client.post('/x', 'k')).replayed, true)
})

t.test('Redis stopped before the claim, with onStoreError: bypass: ' +
  'the request runs unprotected, with a warning', async (t) => {
  const { app, listen, server, logged } = await buildOnRedis(t, { onStoreError: 'bypass' })
  const seen: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    seen.push(request.idempotency)
    return 'done'
  })
  const client = await listen()
  await server.kill()
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.same(seen, [null])
  t.ok(logged.some(({ level, msg }) => level === 40 && msg.includes('unprotected')))
  t.equal(app.idempotency.stats().bypassed, 1)
})

t.test('Redis frozen: the request is refused after storeTimeout, ' +
  'and the claim that arrives late is given back', async (t) => {
  const { app, listen, server } = await buildOnRedis(t, { lease: 60_000, storeTimeout: 300 })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  server.freeze()
  const start = performance.now()
  const answer = await client.post('/x', 'k')
  const took = performance.now() - start
  t.equal(answer.status, 503)
  t.ok(took >= 290, `after storeTimeout (${Math.round(took)} ms)`)
  t.equal(runs, 0)
  server.thaw()
  await until(
    async () => (await client.post('/x', 'k')).text === 'run 1',
    'the key being free long before its lease is over'
  )
  t.equal(runs, 1)
})

t.test('Redis gone between claim and completion: the client gets its answer, ' +
  'and it is stored when Redis is back', async (t) => {
  const { app, listen, server, logged } = await buildOnRedis(t)
  const route = holdRoute(app, run => ({ charged: run }))
  const client = await listen()
  const first = client.post('/x', 'k')
  await route.began()
  await server.kill()
  route.finish()
  const answer = await first
  t.equal(answer.status, 200)
  t.same(answer.json, { charged: 1 })
  t.equal(app.idempotency.stats().pending, 1)
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('completion could not be stored')))

  await until(() => app.idempotency.stats().storeErrors > 2, 'more than one try')
  // Redis comes back empty: nobody else owns the key, so the completion may write it.
  const again = await startRedis({ port: server.port })
  t.teardown(() => again.stop())
  await until(() => app.idempotency.stats().pending === 0, 'the completion')
  const retry = await client.post('/x', 'k')
  t.equal(retry.replayed, true)
  t.same(retry.json, { charged: 1 })
  t.equal(route.runs(), 1)
})

t.test('Redis frozen between claim and completion: the same, no later than storeTimeout', async (t) => {
  const { app, listen, server } = await buildOnRedis(t, { storeTimeout: 300 })
  const route = holdRoute(app, run => ({ charged: run }))
  const client = await listen()
  let first = client.post('/x', 'k')
  await until(async () => {
    const refused = await Promise.race([first.then(() => route.runs() === 0), setImmediate(false)])
    if (refused) first = client.post('/x', 'k')
    return route.runs() > 0
  }, 'a claim that this machine can make within storeTimeout')
  server.freeze()
  route.finish()
  t.same((await first).json, { charged: 1 })
  server.thaw()
  await until(() => app.idempotency.stats().pending === 0, 'the completion')
  await until(async () => (await client.post('/x', 'k')).replayed, 'the replay')
  t.equal(route.runs(), 1)
})

t.test('Redis gone before a failed run is released: the client gets its error, ' +
  'and the key is free when Redis is back', async (t) => {
  const { app, listen, server } = await buildOnRedis(t, { lease: 60_000 })
  const finish = gate()
  const attempts: number[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    attempts.push(request.idempotency?.attempt ?? 0)
    if (attempts.length > 1) return 'done'
    await finish.opened
    throw new Error('provider down')
  })
  const client = await listen()
  const first = client.post('/x', 'k')
  await until(() => attempts.length === 1)
  await server.kill()
  finish.open()
  t.equal((await first).status, 500)
  const again = await startRedis({ port: server.port })
  t.teardown(() => again.stop())
  await until(() => app.idempotency.stats().pending === 0, 'the release')
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.same(attempts, [1, 2], 'the attempt is remembered although Redis forgot everything')
})

t.test('an app that closes tries at once, and for the last time, to store what is pending', async (t) => {
  const store = new MemoryStore()
  const complete = store.complete.bind(store)
  let gone = true
  store.complete = async (...args) => {
    if (gone) throw new StoreUnreachableError('gone')
    return complete(...args)
  }
  const { app, listen } = await build(t, { store })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  t.equal((await (await listen()).post('/x', 'k')).text, 'done')
  t.equal(app.idempotency.stats().pending, 1)
  await until(() => app.idempotency.stats().storeErrors > 3, 'a long pause between two tries')
  gone = false
  await app.close()
  t.equal(app.idempotency.stats().pending, 0)
  t.equal((await app.idempotency.find('k', 'global'))?.state, 'settled')
})

t.test('a Redis that is still connecting when the first requests come is waited for, by all of them', async (t) => {
  const warnings: string[] = []
  const warn = ({ name }: Error): void => { warnings.push(name) }
  process.on('warning', warn)
  t.teardown(() => process.off('warning', warn))
  const server = await startRedis()
  await server.stop()
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  const { app, listen } = await build(t, { redis, storeTimeout: 120_000 })
  let arrived = 0
  app.addHook('preHandler', async () => { arrived++ })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  const first = Array.from({ length: 20 }, (_, i) => client.post('/x', `k${i}`))
  await until(() => arrived === 20)
  const again = await startRedis({ port: server.port })
  t.teardown(() => again.stop())
  for (const answer of await Promise.all(first)) t.equal(answer.text, 'done')
  t.same(warnings, [])
})

t.test('a Redis that does not let scripts or keys be used is a 503, never a handler that runs', async (t) => {
  const { app, listen, server } = await buildOnRedis(t)
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  const admin = connectRedis(t, { url: server.url })
  await admin.config('SET', 'maxmemory', '1')
  t.equal((await client.post('/x', 'k')).status, 503)
  t.equal(runs, 0)
  await admin.config('SET', 'maxmemory', '0')
  await until(async () => (await client.post('/x', 'k')).status === 200)
  t.equal(runs, 1)
})

t.test('a store that fails while a duplicate waits is a 503 even with bypass: somebody is known to run', async (t) => {
  const store = new MemoryStore()
  let fail = false
  const claim = store.claim.bind(store)
  store.claim = async (...args) => {
    if (fail) throw new StoreUnreachableError('gone')
    return claim(...args)
  }
  // The plugin asks the store again when the lease is over.
  const { app, listen } = await build(t, {
    store,
    onConflict: 'wait',
    onStoreError: 'bypass',
    lease: 500,
    waitTimeout: 60_000
  })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const duplicate = client.post('/x', 'k')
  await until(() => app.idempotency.stats().waited === 1)
  fail = true
  t.equal((await duplicate).status, 503)
  fail = false
  route.finish()
  t.equal((await owner).text, 'done')
  t.equal(route.runs(), 1)
})

t.test('with bypass nothing runs beside a run of this process, which is known without the store', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, onStoreError: 'bypass' })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const { claim } = store
  store.claim = async () => { throw new StoreUnreachableError('gone') }
  t.equal((await client.post('/x', 'k')).status, 503)
  store.claim = claim
  route.finish()
  t.equal((await owner).text, 'done')
  t.equal(route.runs(), 1)
})

t.test('a store that throws instead of rejecting is one that failed', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => {
    store.complete = () => { throw new Error('broken') }
    return `run ${++runs}`
  })
  const client = await listen()
  t.match(await client.post('/x', 'k'), { status: 200, text: 'run 1' }, 'what was done is answered')
  store.claim = () => { throw new Error('broken') }
  t.match(await client.post('/x', 'other'), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' } })
  t.equal(runs, 1)
})

t.test('a store that answers a claim with no result of a claim is a 503, and no request stays open', async (t) => {
  const answers: unknown[] = [
    undefined, null, 'claimed', {}, { state: 'settled', attempt: 1 }, { state: 'settled', attempt: 1, outcome: {} }
  ]
  const store = new MemoryStore()
  store.claim = async () => answers.shift() as ClaimResult
  const { app, listen } = await build(t, { store })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  // All with one key, so that no request joins the claim of one that failed before.
  while (answers.length > 0) t.equal((await client.post('/x', 'k')).status, 503)
  t.equal(runs, 0)
})

t.test('a store that returns values instead of promises works as one that returns promises', async (t) => {
  const store = new MemoryStore()
  const answers = { claim: { state: 'claimed', attempt: 1 }, complete: true, release: true }
  for (const [method, answer] of Object.entries(answers)) Object.assign(store, { [method]: () => answer })
  const { app, listen } = await build(t, { store })
  app.post('/done', { config: { idempotency: true } }, async () => 'done')
  app.post('/failed', { config: { idempotency: true } }, async (_request, reply) => reply.code(500).send('failed'))
  const client = await listen()
  for (const time of ['first', 'second']) {
    t.match(await client.post('/done', 'k'), { status: 200, text: 'done' }, time)
    t.match(await client.post('/failed', 'other'), { status: 500, text: 'failed' }, time)
  }
  t.match(app.idempotency.stats(), { completed: 2, released: 2, storeErrors: 0, running: 0 })
})

for (const kind of ['text', 'a stream'] as const) {
  t.test(`a header that no text can be made of, with ${kind}, is an error: its key can be used again`, async (t) => {
    const { app, listen } = await build(t, { store: new MemoryStore() })
    app.post('/x', { config: { idempotency: true } }, async (request, reply) => {
      if (request.idempotency?.attempt === 1) reply.header('x-odd', Object.create(null))
      return reply.send(kind === 'text' ? 'fine' : Readable.from(['fine']))
    })
    const client = await listen()
    t.equal((await client.post('/x', 'k')).status, 500)
    t.match(await client.post('/x', 'k'), { status: 200, text: 'fine', replayed: false })
    t.match(await client.post('/x', 'k'), { status: 200, text: 'fine', replayed: true })
  })
}

t.test('a response that cannot be sent becomes an error, and its key can be used again', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.post('/x', { config: { idempotency: true } }, async request =>
    request.idempotency?.attempt === 1 ? Response.error() : 'fine'
  )
  const client = await listen()
  t.equal((await client.post('/x', 'k')).status, 500)
  t.match(await client.post('/x', 'k'), { status: 200, text: 'fine' })
})

t.test('a request that is refused after storeTimeout is answered in its own async context', async (t) => {
  const store = new MemoryStore()
  store.claim = () => new Promise(() => {})
  const { app, listen } = await build(t, { store, storeTimeout: 200 })
  const context = new AsyncLocalStorage<unknown>()
  app.addHook('onRequest', (request, _reply, done) => { context.run(request.headers['idempotency-key'], done) })
  app.addHook('onSend', async (_request, reply) => { reply.header('x-context', String(context.getStore())) })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  const keys = ['one', 'two', 'three']
  const answers = await Promise.all(keys.map(key => client.post('/x', key)))
  t.same(answers.map(({ status }) => status), [503, 503, 503])
  t.same(answers.map(({ headers }) => headers.get('x-context')), keys)
})
