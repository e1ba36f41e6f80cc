import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Test } from 'tap'
import t from 'tap'
import { recordId } from '../plugin/core/record-id.ts'
import type { IdempotencyEvents, IdempotencyStoreFailureEvent } from '../plugin/index.ts'
import { build, connectRedis, gate, holdRoute, lookAfterLeasesOften, until } from './helper.ts'
import type { TestApp } from './helper.ts'
import { openDatabase, payRoute } from './journal/helper.ts'
import { ownRedis } from './store/own-redis.ts'

type Name = keyof IdempotencyEvents
type Heard = { name: Name, event: IdempotencyEvents[Name] }

const NAMES: Name[] = [
  'claimed', 'takenOver', 'replayed', 'conflicted', 'mismatched', 'waited', 'completed', 'released', 'leaseLost',
  'storeFailed'
]

/** Collects what is published for requests of this test's own scope, from now on. */
function listen (t: Test, scope: string): Heard[] {
  const heard: Heard[] = []
  for (const name of NAMES) {
    const listener = (event: unknown): void => {
      if ((event as IdempotencyEvents[Name]).scope === scope) {
        heard.push({ name, event: event as IdempotencyEvents[Name] })
      }
    }
    subscribe(`fastify-idempotency:${name}`, listener)
    t.teardown(() => unsubscribe(`fastify-idempotency:${name}`, listener))
  }
  return heard
}

async function listening (
  t: Test,
  options: Parameters<typeof build>[1] = {}
): Promise<TestApp & { heard: Heard[], scope: string, names: () => Name[] }> {
  const scope = `scope of ${t.name}`
  const heard = listen(t, scope)
  const built = await build(t, { scope: () => scope, ...options })
  return { ...built, heard, scope, names: () => heard.map(({ name }) => name) }
}

t.test('a first run, its replay and a mismatch are told, with the route and a hash of the key', async (t) => {
  const { app, listen, heard, scope } = await listening(t)
  app.post('/orders/:id/pay', { config: { idempotency: true } }, async (_request, reply) => reply.code(201).send({}))
  const client = await listen()
  await client.post('/orders/7/pay', 'secret-key', { a: 1 })
  await client.post('/orders/7/pay', 'secret-key', { a: 1 })
  await client.post('/orders/7/pay', 'secret-key', { a: 2 })
  const common = { route: 'POST /orders/:id/pay', scope, keyHash: recordId(scope, 'secret-key') }
  t.same(heard.map(({ name, event: { request: _request, duration: _duration, ...told } }) => ({ name, ...told })), [
    { name: 'claimed', ...common, attempt: 1 },
    { name: 'completed', ...common, attempt: 1, statusCode: 201 },
    { name: 'replayed', ...common, attempt: 1, statusCode: 201, recalled: false, cached: false },
    { name: 'mismatched', ...common, attempt: null }
  ])
  for (const { event } of heard) {
    t.equal(event.request?.url, '/orders/7/pay')
    t.ok(event.duration >= 0 && event.duration < 15_000, `${event.duration} ms`)
  }
  const { request: _request, ...told } = heard[0]?.event ?? {}
  t.notMatch(JSON.stringify(told), 'secret-key')
})

t.test('a failed run is told as released, and the next one as taken over', async (t) => {
  const { app, listen, heard } = await listening(t)
  app.post('/x', { config: { idempotency: true } }, async (request, reply) =>
    reply.code(request.idempotency?.attempt === 1 ? 503 : 200).send('x')
  )
  const client = await listen()
  await client.post('/x', 'k')
  await client.post('/x', 'k')
  t.match(heard.map(({ name, event }) => ({ name, ...event })), [
    { name: 'claimed', attempt: 1 }, { name: 'released', attempt: 1, statusCode: 503 },
    { name: 'takenOver', attempt: 2 }, { name: 'completed', attempt: 2, statusCode: 200 }
  ])
})

t.test('a conflict is told at once', async (t) => {
  const { app, listen, names } = await listening(t)
  const { began, finish } = holdRoute(app)
  const client = await listen()
  const first = client.post('/x', 'k')
  await began()
  t.equal((await client.post('/x', 'k')).status, 409)
  t.same(names(), ['claimed', 'conflicted'])
  finish()
  await first
})

t.test('who waits is told when the wait is over, and how it ended', async (t) => {
  const { app, listen, heard, names } = await listening(t, { onConflict: 'wait' })
  const { began, finish } = holdRoute(app)
  const client = await listen()
  const first = client.post('/x', 'k')
  await began()
  const second = client.post('/x', 'k')
  await until(() => app.idempotency.stats().waited === 1, 'the wait')
  t.same(names(), ['claimed'])
  finish()
  await Promise.all([first, second])
  t.same(names(), ['claimed', 'completed', 'waited', 'replayed'])
  t.ok((heard[2]?.event.duration ?? 0) > 0)
})

t.test('a lost lease is told', async (t) => {
  const { app, listen, names, passTime } = await listening(t, { lease: 60_000, maxExecution: 0 })
  lookAfterLeasesOften(app)
  const { began, finish } = holdRoute(app)
  const client = await listen()
  const first = client.post('/x', 'k')
  await began()
  await passTime(60_000)
  await until(() => names().includes('leaseLost'), 'the loss')
  finish()
  await first
  t.same(names(), ['claimed', 'leaseLost', 'completed'])
})

t.test('a store that fails is told, with what was asked of it', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url })
  const { app, listen, heard } = await listening(t, { redis })
  const { opened, open } = gate()
  app.post('/x', { config: { idempotency: true } }, async () => opened.then(() => 'x'))
  const client = await listen()
  const first = client.post('/x', 'k')
  await until(() => app.idempotency.stats().running === 1, 'the run')
  await server.stop()
  await until(() => redis.status !== 'ready', 'the client noticing')
  open()
  t.equal((await first).status, 200)
  t.equal((await client.post('/x', 'other')).status, 503)
  const failures = heard
    .filter(({ name }) => name === 'storeFailed')
    .map(({ event }) => event as IdempotencyStoreFailureEvent)
  t.match(failures.map(({ operation, attempt, error }) => ({ operation, attempt, error })), [
    { operation: 'complete', attempt: 1, error: Error }, { operation: 'claim', attempt: null, error: Error }
  ])
})

t.test('an answer from the replay cache is told as cached, and one from Redis is not', async (t) => {
  const { app, listen, heard, passTime } = await listening(t, { replayCache: { maxAge: 60_000 } })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k')
  await client.post('/x', 'k')
  await passTime(60_000)
  await client.post('/x', 'k')
  t.match(heard.filter(({ name }) => name === 'replayed').map(({ event }) => event), [
    { attempt: 1, statusCode: 200, recalled: false, cached: true },
    { attempt: 1, statusCode: 200, recalled: false, cached: false }
  ])
})

t.test('an answer from the journal is told as recalled', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, heard, scope } = await listening(t, { journal: database.journal })
  payRoute(app, database)
  const client = await listen()
  await client.post('/pay', 'k')
  await app.idempotency.forget('k', scope)
  await client.post('/pay', 'k')
  t.match(
    heard.map(({ name, event }) => ({ name, ...event })).filter(({ name }) => name === 'replayed'),
    [{ recalled: true, statusCode: 200 }]
  )
})

t.test('work that no request asked for is told without one', async (t) => {
  const { app, heard, scope } = await listening(t)
  await app.idempotency.run({ scope, key: 'k' }, () => 'done')
  t.match(
    heard.map(({ name, event }) => ({ name, ...event })),
    [
      { name: 'claimed', request: null, route: 'run', attempt: 1 },
      { name: 'completed', request: null, route: 'run', statusCode: null }
    ]
  )
})
