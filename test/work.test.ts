import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import t from 'tap'
import { Redis } from 'ioredis'
import { IdempotencyError } from '../plugin/index.ts'
import { build, connectRedis, gate, lookAfterLeasesOften, MemoryStore, newPrefix, REDIS_URL, until } from './helper.ts'

const STORES = { redis: () => ({}), memory: () => ({ store: new MemoryStore() }) }

for (const [name, options] of Object.entries(STORES)) {
  t.test(`work is done once for a key, and later calls get the value that it returned (${name})`, async (t) => {
    const { app } = await build(t, options())
    let done = 0
    const send = () =>
      app.idempotency.run({ scope: 'mails', key: 'm1', fingerprint: { to: 'a@example.org' } }, async ({ attempt }) => ({
        sent: ++done,
        attempt
      }))
    t.same(await send(), { sent: 1, attempt: 1 })
    t.same(await send(), { sent: 1, attempt: 1 })
    t.equal(done, 1)
    t.match(app.idempotency.stats(), { claimed: 1, completed: 1, replayed: 1, running: 0 })
  })
}

t.test('work that throws gives the key back, and is told of the next attempt', async (t) => {
  const { app } = await build(t)
  const attempts: number[] = []
  const work = async ({ attempt }: { attempt: number }): Promise<string> => {
    attempts.push(attempt)
    if (attempt === 1) throw new Error('no connection')
    return 'done'
  }
  await t.rejects(app.idempotency.run({ scope: 'jobs', key: 'k' }, work), { message: 'no connection' })
  t.equal(await app.idempotency.run({ scope: 'jobs', key: 'k' }, work), 'done')
  t.same(attempts, [1, 2])
})

t.test('work that asks for it keeps nothing', async (t) => {
  const { app } = await build(t)
  let runs = 0
  const work = () => app.idempotency.run({ scope: 'jobs', key: 'k' }, ({ release }) => {
    release()
    return ++runs
  })
  t.equal(await work(), 1)
  t.equal(await work(), 2)
})

t.test('what cannot be done now rejects with the error that a request would be refused with', async (t) => {
  const { app } = await build(t)
  const { opened, open } = gate()
  const operation = { scope: 'jobs', key: 'k', fingerprint: 'one' }
  const first = app.idempotency.run(operation, () => opened.then(() => 'first'))
  await until(() => app.idempotency.stats().running === 1, 'the work to begin')
  const second = app.idempotency.run(operation, () => 'second')
  await t.rejects(second, { name: 'IdempotencyError', code: 'FST_IDEMPOTENCY_IN_PROGRESS', retryable: true })
  await t.rejects(
    app.idempotency.run({ ...operation, fingerprint: 'two' }, () => 'other'),
    { code: 'FST_IDEMPOTENCY_KEY_REUSED', retryable: false }
  )
  open()
  t.equal(await first, 'first')
  t.equal(await app.idempotency.run(operation, () => 'third'), 'first')
})

t.test('with onConflict "wait" a second call waits for the value of the first, also in another process', async (t) => {
  const keyPrefix = newPrefix()
  const [one, other] = [
    await build(t, { keyPrefix, onConflict: 'wait', redis: connectRedis(t, { prefix: keyPrefix }) }),
    await build(t, { keyPrefix, onConflict: 'wait', redis: connectRedis(t) })
  ]
  const { opened, open } = gate()
  const first = one.app.idempotency.run({ scope: 'jobs', key: 'k' }, () => opened.then(() => ({ by: 'one' })))
  await until(() => one.app.idempotency.stats().running === 1, 'the work to begin')
  const second = other.app.idempotency.run({ scope: 'jobs', key: 'k' }, () => ({ by: 'other' }))
  await until(() => other.app.idempotency.stats().waited === 1, 'the second call to wait')
  open()
  t.same(await first, { by: 'one' })
  t.same(await second, { by: 'one' })
})

t.test('a call with a waitTimeout waits for the value of the first, whatever the options of the app say', async (t) => {
  const { app } = await build(t, { onConflict: 'reject' })
  const { opened, open } = gate()
  const first = app.idempotency.run({ scope: 'jobs', key: 'k' }, () => opened.then(() => 'first'))
  await until(() => app.idempotency.stats().running === 1, 'the work to begin')
  const second = app.idempotency.run({ scope: 'jobs', key: 'k', waitTimeout: 3_600_000 }, () => 'second')
  await until(() => app.idempotency.stats().waiting === 1, 'the second call to wait')
  await t.rejects(
    app.idempotency.run({ scope: 'jobs', key: 'k' }, () => 'third'),
    { code: 'FST_IDEMPOTENCY_IN_PROGRESS' }
  )
  await t.rejects(
    app.idempotency.run({ scope: 'jobs', key: 'k', waitTimeout: 1 }, () => 'fourth'),
    { code: 'FST_IDEMPOTENCY_IN_PROGRESS' }
  )
  open()
  t.equal(await first, 'first')
  t.equal(await second, 'first')
})

t.test('calls that wait equally long for one key ask the store together', async (t) => {
  const store = new MemoryStore()
  let claims = 0
  const claim = store.claim.bind(store)
  store.claim = (...args) => {
    claims++
    return claim(...args)
  }
  const { app } = await build(t, { store })
  await app.ready()
  const { opened, open } = gate()
  const first = app.idempotency.run({ scope: 'jobs', key: 'k' }, async () => {
    await opened
    return 'first'
  })
  await until(() => app.idempotency.stats().running === 1)
  const others = Array.from({ length: 50 }, () =>
    app.idempotency.run({ scope: 'jobs', key: 'k', waitTimeout: 3_600_000 }, () => 'other')
  )
  await until(() => app.idempotency.stats().waiting === 50)
  open()
  t.same(await Promise.all([first, ...others]), Array(51).fill('first'))
  t.ok(claims < 5, `${claims} questions`)
})

t.test('a call with a waitTimeout does the work itself when the first one fails', async (t) => {
  const { app } = await build(t)
  const { opened, open } = gate()
  const first = app.idempotency.run({ scope: 'jobs', key: 'k' }, () =>
    opened.then(() => {
      throw new Error('no connection')
    })
  )
  await until(() => app.idempotency.stats().running === 1, 'the work to begin')
  const second = app.idempotency.run({ scope: 'jobs', key: 'k', waitTimeout: 3_600_000 }, ({ attempt }) => attempt)
  await until(() => app.idempotency.stats().waiting === 1, 'the second call to wait')
  open()
  await t.rejects(first, { message: 'no connection' })
  t.equal(await second, 2)
})

t.test('a call whose waitTimeout exceeds the lease does the work itself if the first one went silent', async (t) => {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const silent = await build(t, { keyPrefix, redis, lease: 1_000, maxExecution: 1_000 })
  const { app } = await build(t, { keyPrefix, redis: connectRedis(t) })
  const { opened, open } = gate()
  const first = silent.app.idempotency.run({ scope: 'jobs', key: 'k' }, () => opened.then(() => 'late'))
  await until(() => silent.app.idempotency.stats().running === 1, 'the work to begin')
  t.equal(await app.idempotency.run({ scope: 'jobs', key: 'k', waitTimeout: 3_600_000 }, ({ attempt }) => attempt), 2)
  open()
  t.equal(await first, 'late')
  t.equal(await app.idempotency.run({ scope: 'jobs', key: 'k' }, () => 'again'), 2)
})

t.test('work that outlasts its lease keeps it, and is told when it is lost', async (t) => {
  const lease = 60_000
  const { app, passTime } = await build(t, { lease, maxExecution: 3 * lease })
  lookAfterLeasesOften(app)
  await app.ready()
  const lost = gate<unknown>()
  const work = app.idempotency.run({ scope: 'jobs', key: 'k' }, async ({ signal }) => {
    await once(signal, 'abort')
    lost.open(signal.reason)
    return 'late'
  })
  const leaseLeft = async (): Promise<number> => (await app.idempotency.find('k', 'jobs'))?.leaseLeft ?? 0
  await until(async () => await leaseLeft() > 0, 'the work to begin')
  for (let passed = lease / 3; passed < 3 * lease; passed += lease / 3) {
    await passTime(lease / 3)
    await until(async () => await leaseLeft() > lease * 2 / 3, `a renewal after ${passed} ms`)
  }
  await passTime(lease)
  t.match(await lost.opened, { code: 'FST_IDEMPOTENCY_LEASE_LOST' })
  t.equal(await work, 'late')
})

t.test('a value that JSON cannot hold is returned, and later calls are told that it was not kept', async (t) => {
  const { app, logged } = await build(t, { maxBodySize: 10 })
  for (const [key, value] of Object.entries({ number: 1n, function: () => {}, large: 'x'.repeat(10) })) {
    t.equal(await app.idempotency.run<unknown>({ scope: 'jobs', key }, () => value), value)
    await t.rejects(
      app.idempotency.run({ scope: 'jobs', key }, () => 'again'),
      { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE' }
    )
  }
  t.equal(logged.filter(({ msg }) => msg.includes('cannot be kept')).length, 3)
  t.equal(await app.idempotency.run({ scope: 'jobs', key: 'nothing' }, () => undefined), undefined)
  t.equal(await app.idempotency.run<unknown>({ scope: 'jobs', key: 'nothing' }, () => 'something'), undefined)
})

t.test('the key of a request and that of a call are never taken for each other', async (t) => {
  const { app, listen } = await build(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'request')
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'request')
  await t.rejects(
    app.idempotency.run({ scope: 'global', key: 'k' }, () => 'call'),
    { code: 'FST_IDEMPOTENCY_KEY_REUSED' }
  )
})

t.test('arguments that make no sense are refused with a word on what is wrong', async (t) => {
  const { app } = await build(t, { store: new MemoryStore() })
  const run = app.idempotency.run as (operation: object, work: unknown) => Promise<unknown>
  const work = (): string => 'done'
  await t.rejects(run({ scope: '', key: 'k' }, work), /a scope must be .* got an empty string/)
  await t.rejects(run({ scope: null, key: 'k' }, work), /a scope must be .* got null/)
  await t.rejects(run({ scope: 'jobs', key: '' }, work), /a key must be .* got an empty string/)
  await t.rejects(run({ scope: 'jobs', key: NaN }, work), /a key must be .* got the number NaN/)
  await t.rejects(run({ scope: 'jobs', key: String(undefined) }, work), /a key must be .* got the text 'undefined'/)
  await t.rejects(
    run({ scope: 'jobs', key: 'k', fingerprint: Promise.resolve('same') }, work),
    /takes a fingerprint that is/
  )
  await t.rejects(
    run({ scope: 'jobs', key: 'k', fingerprint: new Map() }, work),
    /takes a fingerprint that is text, bytes/
  )
  for (const [waitTimeout, got] of [
    [-1, '-1'],
    [1.5, '1.5'],
    [Infinity, 'Infinity'],
    [2 ** 31, '2147483648'],
    ['1s', 'string'],
    [null, 'object']
  ] as const) {
    await t.rejects(run({ scope: 'jobs', key: 'k', waitTimeout }, work), {
      name: 'TypeError',
      message: new RegExp(`takes a waitTimeout that is a whole number .* got ${got}$`)
    })
  }
  await t.rejects(run({ scope: 'jobs', key: 'k' }, 'work'), /takes the work to do as a function, got string/)
  await t.rejects(run(undefined as never, () => {}), /takes \{ scope, key \} first, got undefined/)
  t.equal(app.idempotency.stats().claimed, 0)
})

t.test('a store that cannot be reached rejects before the work is done', async (t) => {
  const redis = new Redis('redis://127.0.0.1:1', { lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  await redis.connect().catch(() => {})
  const { app } = await build(t, { redis })
  let runs = 0
  await t.rejects(app.idempotency.run({ scope: 'jobs', key: 'k' }, () => ++runs), IdempotencyError)
  t.equal(runs, 0)
})

t.test('a consumer of a Redis stream that gets its messages more than once does the work of each once', async (t) => {
  const stream = `test:stream:${randomUUID()}`
  const redis = new Redis(REDIS_URL)
  t.teardown(async () => {
    await redis.del(stream)
    redis.disconnect()
  })
  const { app } = await build(t, { onConflict: 'wait' })
  const orders = Array.from({ length: 20 }, (_, i) => `order-${i}`)
  // The producer sends each message twice: it did not hear that the first one had arrived.
  for (const order of [...orders, ...orders]) await redis.xadd(stream, '*', 'order', order)

  const shipped: string[] = []
  const consume = async (): Promise<void> => {
    const messages = await redis.xrange(stream, '-', '+')
    await Promise.all(
      messages.map(([, [, order = '']]) =>
        app.idempotency.run({ scope: 'shipping', key: order, fingerprint: order }, async () => {
          shipped.push(order)
          return { shipped: order }
        })
      )
    )
  }
  await Promise.all([consume(), consume()])
  t.same(shipped.sort(), [...orders].sort())
})

t.test('thousands of keys at once each have a run of their own', async (t) => {
  const { app } = await build(t, { store: new MemoryStore() })
  const { opened, open } = gate()
  const keys = Array.from({ length: 6_000 }, (_, number) => number)
  const works = keys.map(key => app.idempotency.run({ scope: 'jobs', key }, () => opened.then(() => key)))
  await until(() => app.idempotency.stats().running === keys.length, 'all work to begin')
  open()
  t.same(await Promise.all(works), keys)
  t.match(app.idempotency.stats(), { claimed: keys.length, completed: keys.length, running: 0 })
})
