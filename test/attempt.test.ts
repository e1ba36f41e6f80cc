import t from 'tap'
import type { Test } from 'tap'
import { build, connectRedis, gate, holdRoute, MemoryStore, newPrefix, until } from './helper.ts'
import type { TestApp } from './helper.ts'
import { ownRedis } from './store/own-redis.ts'
import { startRedis } from './servers/redis.ts'
import type { RedisServer } from './servers/redis.ts'

// `attempt` counts the runs that were let through, and nothing else.

/** An app on a Redis that the test may freeze. */
async function buildOnOwnRedis (t: Test): Promise<TestApp & { server: RedisServer }> {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const redis = connectRedis(t, { url: server.url })
  await until(() => redis.status === 'ready')
  return { server, ...await build(t, { redis, storeTimeout: 300, lease: 60_000 }) }
}

t.test('a request refused because Redis stalled leaves no trace: the first handler has attempt 1', async (t) => {
  const { app, listen, server } = await buildOnOwnRedis(t)
  const attempts: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    attempts.push(request.idempotency?.attempt)
    return 'done'
  })
  const client = await listen()
  server.freeze()
  t.equal((await client.post('/x', 'k')).status, 503)
  server.thaw()
  await until(async () => (await client.post('/x', 'k')).status === 200, 'the key being free')
  t.same(attempts, [1])
})

t.test('nor does it change the attempt of a key that ran before', async (t) => {
  const { app, listen, server } = await buildOnOwnRedis(t)
  const attempts: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request, reply) => {
    attempts.push(request.idempotency?.attempt)
    return reply.code(attempts.length === 1 ? 500 : 200).send('answer')
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).status, 500)
  server.freeze()
  t.equal((await client.post('/x', 'k')).status, 503)
  server.thaw()
  await until(async () => (await client.post('/x', 'k')).status === 200, 'the key being free')
  t.same(attempts, [1, 2])
})

const REFUSALS: Array<[name: string, refuse: string[], admit: string[]]> = [
  ['is full', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
  ['has no replicas', ['CONFIG', 'SET', 'min-replicas-to-write', '1'], ['CONFIG', 'SET', 'min-replicas-to-write', '0']],
  ['is read-only', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ['forbids it', ['ACL', 'SETUSER', 'default', '-set'], ['ACL', 'SETUSER', 'default', '+set']]
]

for (const [name, refuse, admit] of REFUSALS) {
  t.test(`a claim that Redis refuses since it ${name} is a 503 of one command, ` +
    'and there is nothing to give back', async (t) => {
    const server = await ownRedis(t)
    const redis = connectRedis(t, { url: server.url })
    await until(() => redis.status === 'ready')
    const { app, listen, logged } = await build(t, { redis })
    const attempts: unknown[] = []
    app.post('/x', { config: { idempotency: true } }, async (request) => {
      attempts.push(request.idempotency?.attempt)
      return 'done'
    })
    const client = await listen()
    const [command = '', ...args] = refuse
    await server.admin.call(command, ...args)
    t.match(await client.post('/x', 'k'), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' } })
    t.equal(app.idempotency.stats().pending, 0, 'nothing is tried again')
    t.equal(logged.filter(({ level }) => level >= 50).length, 1, 'one line says so')
    const [again = '', ...rest] = admit
    await server.admin.call(again, ...rest)
    t.equal((await client.post('/x', 'k')).text, 'done')
    t.same(attempts, [1])
    t.equal(app.idempotency.stats().pending, 0)
  })

  t.test(`a key that was settled is replayed while Redis ${name}, and one that runs is in progress`, async (t) => {
    const server = await ownRedis(t)
    const redis = connectRedis(t, { url: server.url })
    await until(() => redis.status === 'ready')
    const { app, listen } = await build(t, { redis, keyPrefix: newPrefix(), onConflict: 'reject' })
    app.post('/settled', { config: { idempotency: true } }, async () => 'done')
    const route = holdRoute(app)
    const client = await listen()
    t.equal((await client.post('/settled', 's')).text, 'done')
    const owner = client.post('/x', 'k')
    await route.began()
    const [command = '', ...args] = refuse
    await server.admin.call(command, ...args)
    t.match(await client.post('/settled', 's'), { status: 200, text: 'done', replayed: true })
    t.equal((await client.post('/settled', 's', 'another body')).status, 422)
    t.equal((await client.post('/x', 'k')).json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
    t.equal((await client.post('/x', 'new')).status, 503)
    const [again = '', ...rest] = admit
    await server.admin.call(again, ...rest)
    route.finish()
    t.equal((await owner).text, 'done')
  })
}

t.test('a request that was answered by handlerTimeout before it owned its key leaves no trace', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store })
  const claim = store.claim.bind(store)
  let granted = 0
  let answered: Promise<unknown> = Promise.resolve()
  store.claim = async (...args) => {
    const result = await claim(...args)
    granted++
    await answered
    return result
  }
  const attempts: unknown[] = []
  app.post('/x', { config: { idempotency: true }, handlerTimeout: 50 }, async (request) => {
    attempts.push(request.idempotency?.attempt)
    return 'done'
  })
  await listen()
  let release!: () => void
  answered = new Promise<void>((resolve) => { release = resolve })
  const { statusCode } = await app.inject({ method: 'POST', url: '/x', headers: { 'idempotency-key': 'k' } })
  t.equal(statusCode, 503)
  t.equal(granted, 1)
  release()
  await until(async () => (await app.idempotency.find('k', 'global')) === null, 'the claim being undone')
  t.equal((await app.inject({ method: 'POST', url: '/x', headers: { 'idempotency-key': 'k' } })).body, 'done')
  t.same(attempts, [1])
})

t.test('what handlerTimeout answered before the key was looked up is not answered again, nor counted', async (t) => {
  const store = new MemoryStore()
  const { app, logged } = await build(t, { store })
  app.post('/x', { config: { idempotency: true }, handlerTimeout: 50 }, async () => 'done')
  const post = async () => await app.inject({ method: 'POST', url: '/x', headers: { 'idempotency-key': 'k' } })
  t.equal((await post()).body, 'done')
  const claim = store.claim.bind(store)
  const answered = gate()
  let isLookedUp = false
  store.claim = async (...args) => {
    await answered.opened
    setImmediate(() => { isLookedUp = true })
    return claim(...args)
  }
  t.equal((await post()).statusCode, 503)
  answered.open()
  await until(() => isLookedUp)
  t.equal(app.idempotency.stats().replayed, 0)
  t.notOk(logged.some(({ msg }) => msg.includes('already sent')))
})
