import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { recordId } from '../plugin/core/record-id.ts'
import { build, connectRedis, MemoryStore, newPrefix } from './helper.ts'

t.test('the same key in two scopes is two operations, and nobody gets the answer of another', async (t) => {
  const { app, listen } = await build(t, { scope: request => String(request.headers['x-customer']) })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async request => ({
    run: ++runs,
    of: request.headers['x-customer'],
    scope: request.idempotency?.scope
  }))
  const client = await listen()
  const as = async (customer: string): Promise<unknown> =>
    (await client.post('/x', 'k', undefined, { 'x-customer': customer })).json
  t.same(await as('alice'), { run: 1, of: 'alice', scope: 'alice' })
  t.same(await as('bob'), { run: 2, of: 'bob', scope: 'bob' })
  t.same(await as('alice'), { run: 1, of: 'alice', scope: 'alice' })
  t.same(await as('bob'), { run: 2, of: 'bob', scope: 'bob' })
})

t.test('the scope may be a number, and may be set by the route’s own authentication', async (t) => {
  const { app, listen } = await build(t, {
    store: new MemoryStore(),
    scope: request => (request as { userId?: number }).userId ?? NaN
  })
  app.decorateRequest('userId', 0)
  app.post('/x', {
    config: { idempotency: true },
    preHandler: async (request) => { (request as { userId?: number }).userId = 42 }
  }, async request => request.idempotency?.scope)
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, '42')
  t.equal((await app.idempotency.find('k', 42))?.state, 'settled')
})

for (const value of [undefined, null, '', 'global', 'undefined', 'null', {}, NaN, Infinity, 2 ** 53, 'a\ud800']) {
  t.test(`a scope function that returns ${inspect(value)} is a 500 that says so, and nothing runs`, async (t) => {
    const { app, listen } = await build(t, { store: new MemoryStore(), scope: (() => value) as () => string })
    let runs = 0
    app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
    const answer = await (await listen()).post('/x', 'k')
    t.equal(answer.status, 500)
    t.equal(answer.json.code, 'FST_IDEMPOTENCY_SCOPE_INVALID')
    t.match(answer.json.detail, /option "scope" of POST \/x must return .*, got /)
    t.equal(runs, 0)
  })
}

t.test('a scope function that throws has its error handled like any other of the app', async (t) => {
  const { app, listen } = await build(t, {
    store: new MemoryStore(),
    scope: () => {
      throw Object.assign(new Error('who are you?'), { statusCode: 403 })
    }
  })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const answer = await (await listen()).post('/x', 'k')
  t.equal(answer.status, 403)
  t.equal(answer.json.message, 'who are you?')
  t.equal(runs, 0)
})

t.test('scope and key are never joined to the same record as another scope and key', async (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ':', '1', '2'), maxLength: 4 })
  fc.assert(
    fc.property(
      text,
      text,
      text,
      text,
      (scope, key, otherScope, otherKey) =>
        (recordId(scope, key) === recordId(otherScope, otherKey)) === (scope === otherScope && key === otherKey)
    ),
    { numRuns: 5_000 }
  )
  t.not(recordId('a', 'bc'), recordId('ab', 'c'))
  t.not(recordId('1:a', 'b'), recordId('1', 'a:b'))
})

t.test('nothing of scope or key can be read in Redis, and names have one length', async (t) => {
  const keyPrefix = newPrefix()
  const { app, listen } = await build(t, { keyPrefix, scope: request => String(request.headers['x-customer']) })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k', undefined, { 'x-customer': 'a' })
  await client.post('/x', 'sentinel-key-{slot}*'.repeat(10), undefined, {
    'x-customer': 'sentinel-customer@example.com'
  })
  const redis = connectRedis(t, { prefix: keyPrefix })
  const names = await redis.keys(`${keyPrefix}*`)
  t.equal(names.length, 2)
  for (const name of names) {
    t.match(name.slice(keyPrefix.length), /^[\w-]{43}$/)
    const value = (await redis.getBuffer(name))?.toString('latin1') ?? ''
    t.notMatch(name + value, /sentinel/)
  }
})
