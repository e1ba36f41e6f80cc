import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { build, connectRedis, gate, lookAfterLeasesOften, newPrefix, until } from '../helper.ts'
import type { Client } from '../helper.ts'
import { openDatabase, payRoute, transact } from './helper.ts'

/** Longer than any machine is busy. */
const LEASE = 60_000

/** What Redis loses when it is restarted empty: the record of this key. */
async function emptyRedis (app: FastifyInstance, key = 'k'): Promise<void> {
  await app.idempotency.forget(key, 'global')
}

const RECEIPT = { status: 200, text: '{"receipt":1}' }

t.test('of two attempts whose transactions meet one commits, and both clients get its answer', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  const second = gate()
  const { runs } = payRoute(app, database, run => run === 1 ? second.opened : undefined)
  const client = await listen()
  const first = client.post('/pay', 'k')
  await until(
    async () =>
      (
        await database.pool.query(
          'SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation ' +
            `WHERE c.relname = '${database.table}' AND mode = 'RowExclusiveLock'`
        )
      ).rowCount,
    'the first has inserted'
  )
  await emptyRedis(app)
  const retry = client.post('/pay', 'k')
  await until(() => runs() === 2, 'the second run')
  second.open()
  t.match(await first, { ...RECEIPT, replayed: false })
  t.match(await retry, { ...RECEIPT, replayed: true })
  t.equal(await database.effects.count(), 1)
  t.match(await client.post('/pay', 'k'), { ...RECEIPT, replayed: true })
  t.equal(runs(), 2, 'and a later retry is a plain replay')
})

t.test('a handler that swallows the refusal and answers something else cannot commit, nor be heard', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async request => transact(database.pool, async (tx) => {
    await tx.query(`INSERT INTO ${database.effects.table} DEFAULT VALUES`)
    await request.idempotency?.complete(tx, { body: { receipt: ++run } }).catch(() => {})
    return { receipt: run }
  }))
  const client = await listen()
  t.match(await client.post('/pay', 'k'), RECEIPT)
  await emptyRedis(app)
  t.match(await client.post('/pay', 'k'), { ...RECEIPT, replayed: true })
  t.equal(run, 2)
  t.equal(await database.effects.count(), 1)
})

t.test('a handler that finds its work done when Redis was emptied is overruled: ' +
  'the first answer goes out', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let paid = false
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    reply.header('x-run', paid ? 'second' : 'first')
    if (paid) return reply.code(409).header('x-refused', 'yes').send({ error: 'already paid' })
    const receipt = await database.charge(async tx =>
      request.idempotency?.complete(tx, { statusCode: 201, body: { receipt: 1 } })
    )
    paid = true
    return receipt
  })
  const client = await listen()
  const first = await client.post('/pay', 'k')
  await emptyRedis(app)
  for (const what of ['looked up', 'from Redis, which has it again']) {
    const answer = await client.post('/pay', 'k')
    t.equal(answer.status, 201, what)
    t.same(answer.body, first.body)
    t.ok(answer.replayed)
    t.equal(answer.headers.get('x-run'), 'first')
    t.equal(answer.headers.get('x-refused'), null)
  }
  t.match(app.idempotency.stats(), { recalled: 1, replayed: 2 })
  t.match(
    await client.post('/pay', 'another'),
    { status: 409, json: { error: 'already paid' }, replayed: false },
    'which is the truth for another key'
  )
})

t.test('an attempt that committed and then failed is answered with what it committed', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async (request) => {
    await database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
    throw new Error('after the commit')
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k'), RECEIPT)
  t.match(await client.post('/pay', 'k'), { ...RECEIPT, replayed: true })
  t.equal(await database.effects.count(), 1)
})

/** Two apps on one Redis and one journal; the first loses Redis for good in the middle of its run. */
async function crashed (
  t: Test,
  database: Awaited<ReturnType<typeof openDatabase>>
): Promise<{ retry: () => ReturnType<Client['post']>, runs (): number, app: FastifyInstance }> {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t)
  const first = await build(t, { redis, keyPrefix, lease: 300, journal: database.journal })
  payRoute(first.app, database, () => { redis.disconnect() })
  // Its own lease is long: on a slow machine a key must not be granted after the lease is over.
  const second = await build(t, { redis: connectRedis(t, { prefix: keyPrefix }), keyPrefix, journal: database.journal })
  const { runs } = payRoute(second.app, database)
  t.match(await (await first.listen()).post('/pay', 'k'), RECEIPT, 'the first client gets its answer')
  const client = await second.listen()
  const retry = async (): ReturnType<Client['post']> => {
    let answer
    await until(async () => {
      answer = await client.post('/pay', 'k')
      return answer.status !== 409
    }, 'the lease of the first is over')
    return answer as unknown as ReturnType<Client['post']>
  }
  return { retry, runs, app: second.app }
}

t.test('after a crash between the commit and the storing of the answer, ' +
  'the retry gets that answer and nothing runs', async (t) => {
  const database = await openDatabase(t)
  const { retry, runs, app } = await crashed(t, database)
  t.match(await retry(), { ...RECEIPT, replayed: true })
  t.equal(runs(), 0)
  t.match(await app.idempotency.find('k', 'global'), { state: 'settled', statusCode: 200 }, 'and Redis has it again')
  t.match(await retry(), { ...RECEIPT, replayed: true })
  t.match(app.idempotency.stats(), { recalled: 1, replayed: 2, claimed: 0 })
})

t.test('while the journal cannot be asked a later attempt is refused, and runs when it can', async (t) => {
  const database = await openDatabase(t)
  const { retry, runs } = await crashed(t, database)
  await database.pool.query(`ALTER TABLE ${database.table} RENAME TO ${database.table}_away`)
  for (let i = 0; i < 2; i++) {
    t.match(await retry(), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE', retryable: true } })
  }
  await database.pool.query(`ALTER TABLE ${database.table}_away RENAME TO ${database.table}`)
  t.match(await retry(), { ...RECEIPT, replayed: true })
  t.equal(runs(), 0)
})

t.test('a journal that does not answer in time counts as one that cannot be asked', async (t) => {
  const database = await openDatabase(t, { timeout: 1_000 })
  const { retry } = await crashed(t, database)
  const blocker = await database.pool.connect()
  await blocker.query('BEGIN')
  await blocker.query(`LOCK TABLE ${database.table} IN ACCESS EXCLUSIVE MODE`)
  t.match(await retry(), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' } })
  await blocker.query('ROLLBACK')
  blocker.release()
  await until(async () => (await retry()).status === 200, 'the journal answers again')
})

t.test('an answer that does not stand in the journal is not given while the journal cannot be asked, ' +
  'unless it is a failure', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let answer = { status: 409, body: { error: 'already paid' } as object }
  app.post('/pay', { config: { idempotency: true } }, async (_request, reply) =>
    reply.code(answer.status).send(answer.body)
  )
  const client = await listen()
  await database.pool.query(`ALTER TABLE ${database.table} RENAME TO ${database.table}_away`)
  t.match(await client.post('/pay', 'k'), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' } })
  answer = { status: 500, body: { error: 'ours' } }
  t.match(await client.post('/pay', 'l'), { status: 500, json: { error: 'ours' } })
  for (const key of ['k', 'l']) t.match(await app.idempotency.find(key, 'global'), { state: 'released', attempt: 1 })
  await database.pool.query(`ALTER TABLE ${database.table}_away RENAME TO ${database.table}`)
  answer = { status: 409, body: { error: 'already paid' } }
  t.match(await client.post('/pay', 'k'), { status: 409, json: { error: 'already paid' }, replayed: false })
  t.match(await client.post('/pay', 'k'), { status: 409, json: { error: 'already paid' }, replayed: true })
})

for (const errors of ['problem+json', 'error-handler'] as const) {
  t.test('another request with a journalled key is a 422, also when Redis was emptied, ' +
    `and the good answer comes back (${errors})`, async (t) => {
    const database = await openDatabase(t)
    const { app, listen } = await build(t, { journal: database.journal, errors })
    app.setErrorHandler((error: Error & { statusCode?: number, code?: string }, _request, reply) =>
      reply.code(error.statusCode ?? 500).send({ code: error.code, own: true })
    )
    payRoute(app, database)
    app.post('/refused', { config: { idempotency: true } }, async (_request, reply) =>
      reply.code(403).send({ no: true })
    )
    const client = await listen()
    t.match(await client.post('/pay', 'k', { amount: 1 }), RECEIPT)
    for (const path of ['/pay', '/refused']) {
      await emptyRedis(app)
      const wrong = await client.post(path, 'k', { amount: 2 })
      t.equal(wrong.status, 422, path)
      t.equal(wrong.json.code, 'FST_IDEMPOTENCY_KEY_REUSED')
      // After a transaction failed, the app's own handler has run already: Fastify continues with its default one.
      t.equal(wrong.json.own, errors === 'error-handler' && path === '/refused' ? true : undefined)
      t.match(wrong.headers.get('link'), /rel="describedby"/)
      t.match(await client.post('/pay', 'k', { amount: 1 }), { ...RECEIPT, replayed: true })
      t.equal((await client.post(path, 'k', { amount: 2 })).status, 422, 'now by Redis')
    }
    t.equal(await database.effects.count(), 1)
  })
}

t.test('a connection lost before the commit: the client is told to try again, and the retry runs', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async request => database.charge(async (tx) => {
    const receipt = await request.idempotency?.complete(tx, { body: { receipt: ++run } })
    if (run === 1) {
      const { rows: [own] } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await database.pool.query('SELECT pg_terminate_backend($1)', [own?.pid])
    }
    return receipt
  }))
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).status, 500)
  t.match(await app.idempotency.find('k', 'global'), { state: 'released' })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":2}', replayed: false })
  t.equal(await database.effects.count(), 1)
})

t.test('a handler that hides a rolled back transaction behind another answer leaves the key to a retry', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async request => database.charge(async (tx) => {
    const receipt = await request.idempotency?.complete(tx, { body: { receipt: ++run } })
    if (run === 1) throw new Error('rolled back')
    return receipt
  }).catch(() => ({ receipt: 'none' })))
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).text, '{"receipt":"none"}')
  t.match(await client.post('/pay', 'k'), { text: '{"receipt":2}', replayed: false })
})

t.test('an owner that was away for longer than its lease is not heard with an answer of its own, ' +
  'since another attempt may commit', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, logged, passTime } = await build(t, {
    journal: database.journal,
    lease: LEASE,
    maxExecution: 0,
    onConflict: 'reject'
  })
  lookAfterLeasesOften(app)
  const late = gate()
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    if (++run > 1) return database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
    await late.opened
    return reply.code(402).send({ error: 'declined' })
  })
  const client = await listen()
  const first = client.post('/pay', 'k')
  await until(() => run === 1, 'the first run')
  t.equal((await client.post('/pay', 'k')).status, 409)
  await passTime(LEASE)
  let second = await client.post('/pay', 'k')
  await until(async () => {
    if (second.status === 409) second = await client.post('/pay', 'k')
    return second.status !== 409
  }, 'the lease is over')
  t.match(second, RECEIPT)
  late.open()
  t.match(await first, { ...RECEIPT, replayed: true })
  t.ok(logged.some(({ msg }) => msg.includes('came too late')))
})

t.test('and while that other attempt still runs, it is told to come back', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, passTime } = await build(t, {
    journal: database.journal,
    lease: LEASE,
    maxExecution: 0,
    onConflict: 'reject'
  })
  lookAfterLeasesOften(app)
  const late = gate()
  const other = gate()
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    if (++run > 1) {
      await other.opened
      return database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
    }
    await late.opened
    return reply.code(402).send({ error: 'declined' })
  })
  const client = await listen()
  const first = client.post('/pay', 'k')
  await until(() => run === 1, 'the first run')
  await passTime(LEASE)
  let second: ReturnType<Client['post']> | undefined
  await until(async () => {
    const sent = client.post('/pay', 'k')
    await Promise.race([sent, until(() => run === 2, 'the second run')])
    if (run === 2) second ??= sent
    return run === 2
  }, 'the second run')
  late.open()
  const told = await first
  t.match(told, { status: 409, json: { code: 'FST_IDEMPOTENCY_IN_PROGRESS', retryable: true } })
  t.ok(told.headers.get('retry-after'))
  other.open()
  t.match(await second, RECEIPT)
  t.match(await client.post('/pay', 'k'), { ...RECEIPT, replayed: true })
})

t.test('with handlerTimeout the retry waits for the lease, and gets what the first attempt committed', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, passTime } = await build(t, { journal: database.journal, lease: LEASE, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const slow = gate()
  let runs = 0
  app.post('/pay', { handlerTimeout: 1_000, config: { idempotency: true } }, async (request) => {
    runs++
    await slow.opened
    return database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
  })
  const client = await listen()
  await until(async () => {
    t.equal((await client.post('/pay', 'k')).status, 503)
    return runs === 1
  }, 'a request that began before its time was over')
  t.equal((await client.post('/pay', 'k')).status, 409)
  slow.open()
  await until(async () => await database.effects.count() === 1, 'the commit')
  await passTime(LEASE)
  let answer = await client.post('/pay', 'k')
  await until(async () => {
    if (answer.status === 409) answer = await client.post('/pay', 'k')
    return answer.status !== 409
  }, 'the lease is over')
  t.match(answer, { ...RECEIPT, replayed: true })
  t.equal(runs, 1)
})

t.test('a hijacked answer of a route with a journal is found by the next attempt, if it was committed', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    const receipt = await database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
    reply.hijack()
    reply.raw.end(JSON.stringify(receipt))
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k'), RECEIPT)
  await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'released', 'the key is released')
  t.match(await client.post('/pay', 'k'), { ...RECEIPT, replayed: true })
  t.equal(await database.effects.count(), 1)
})

t.test('routes may do without the journal that the others have', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  app.post('/other', { config: { idempotency: { journal: false } } }, async () => 'done')
  const client = await listen()
  const before = database.statements().length
  t.match(await client.post('/other', 'k'), { text: 'done', replayed: false })
  t.match(await client.post('/other', 'k'), { text: 'done', replayed: true })
  t.equal(database.statements().length, before)
})

t.test('what stands in the journal is found by scope and key only', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, {
    journal: database.journal,
    scope: request => String(request.headers['x-customer'])
  })
  payRoute(app, database)
  const client = await listen()
  const key = randomUUID()
  t.match(await client.post('/pay', key, undefined, { 'x-customer': 'alice' }), { text: '{"receipt":1}' })
  t.match(await client.post('/pay', key, undefined, { 'x-customer': 'bob' }), {
    text: '{"receipt":2}',
    replayed: false
  })
  const { rows } = await database.pool.query(`SELECT * FROM ${database.table}`)
  t.equal(rows.length, 2)
  t.notOk(JSON.stringify(rows).includes(key) || JSON.stringify(rows).includes('alice'), 'neither is readable')
})
