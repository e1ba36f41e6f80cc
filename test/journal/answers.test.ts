import { Readable } from 'node:stream'
import t from 'tap'
import type { FastifyReply } from 'fastify'
import { build, gate, until } from '../helper.ts'
import { openDatabase } from './helper.ts'

const REFUSALS: Array<
  [what: string, answer: (reply: FastifyReply) => unknown, expected: { status: number, text: string }]
> = [
  [
    'a 409',
    reply => reply.code(409).send({ error: 'already paid' }),
    { status: 409, text: '{"error":"already paid"}' }
  ],
  [
    'a thrown 404',
    () => {
      throw Object.assign(new Error('no such order'), { statusCode: 404 })
    },
    { status: 404, text: '{"statusCode":404,"error":"Not Found","message":"no such order"}' }
  ],
  ['a 402 without a body', reply => reply.code(402).send(), { status: 402, text: '' }],
  ['a stream', reply => reply.send(Readable.from(['a', 'b'])), { status: 200, text: 'ab' }]
]

for (const [what, answer, expected] of REFUSALS) {
  t.test(`with journalAnswers an answer that was not completed with (${what}) is the answer ` +
    'also when Redis was emptied, whatever the handler would say now', async (t) => {
    const database = await openDatabase(t)
    const { app, listen } = await build(t, { journal: database.journal, journalAnswers: true })
    let run = 0
    app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
      if (++run === 1) return answer(reply)
      return database.charge(async tx => request.idempotency?.complete(tx, { body: 'paid after all' }))
    })
    const client = await listen()
    const before = database.statements().length
    t.match(await client.post('/pay', 'k'), { ...expected, replayed: false })
    t.equal(database.statements().length, before + 1, 'in one statement')
    t.match(await client.post('/pay', 'k'), { ...expected, replayed: true })
    await app.idempotency.forget('k', 'global')
    t.match(await client.post('/pay', 'k'), { ...expected, replayed: true })
    t.equal(await database.effects.count(), 0)
    t.match(app.idempotency.stats(), { recalled: 1 })
  })
}

t.test('without journalAnswers a late duplicate of such an answer is carried out when Redis was emptied', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => ++run === 1
    ? reply.code(409).send({ error: 'not now' })
    : database.charge(async tx => request.idempotency?.complete(tx, { body: 'paid after all' })))
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).status, 409)
  await app.idempotency.forget('k', 'global')
  t.match(await client.post('/pay', 'k'), { status: 200, text: 'paid after all' })
})

t.test('with journalAnswers what an earlier attempt committed still overrules what a later one answers', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal, journalAnswers: true })
  let paid = false
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    if (paid) return reply.code(409).send({ error: 'already paid' })
    paid = true
    return database.charge(async tx => request.idempotency?.complete(tx, { statusCode: 201, body: { receipt: 1 } }))
  })
  const client = await listen()
  await client.post('/pay', 'k')
  for (const what of ['looked up', 'from Redis, which has it again']) {
    await app.idempotency.forget('k', 'global')
    t.match(await client.post('/pay', 'k'), { status: 201, text: '{"receipt":1}', replayed: true }, what)
  }
  await app.idempotency.forget('k', 'global')
  t.match(await client.post('/pay', 'k', { another: 'body' }), {
    status: 422,
    json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' }
  })
})

t.test('with journalAnswers an attempt cannot commit once another one has been answered: ' +
  'its client gets that answer', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal, journalAnswers: true })
  const held = gate()
  t.teardown(() => held.open())
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    if (++run > 1) return reply.code(402).send({ error: 'declined' })
    await held.opened
    return database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
  })
  const client = await listen()
  const first = client.post('/pay', 'k')
  await until(() => run === 1, 'the first run')
  await app.idempotency.forget('k', 'global')
  t.match(await client.post('/pay', 'k'), { status: 402, replayed: false })
  held.open()
  t.match(await first, { status: 402, text: '{"error":"declined"}', replayed: true })
  t.equal(await database.effects.count(), 0)
})

t.test('with journalAnswers what is to be tried again is not journalled', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal, journalAnswers: true })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    switch (++run) {
      case 1: return reply.code(503).send()
      case 2: return reply.code(429).send()
      case 3:
        request.idempotency?.release()
        return reply.code(409).send()
      default: return 'done'
    }
  })
  const client = await listen()
  for (const status of [503, 429, 409, 200]) t.equal((await client.post('/pay', 'k')).status, status)
  t.equal((await database.pool.query(`SELECT 1 FROM ${database.table}`)).rowCount, 1)
})

t.test('with journalAnswers an answer that the journal does not take is not sent: a 503; the retry runs', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, logged } = await build(t, { journal: database.journal, journalAnswers: true })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async (_request, reply) => reply.code(409).send({ run: ++run }))
  const client = await listen()
  await database.pool.query(`ALTER TABLE ${database.table} RENAME TO ${database.table}_away`)
  t.match(await client.post('/pay', 'k'), {
    status: 503,
    json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE', retryable: true }
  })
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('the journal did not take the answer')))
  await database.pool.query(`ALTER TABLE ${database.table}_away RENAME TO ${database.table}`)
  t.match(await client.post('/pay', 'k'), { status: 409, json: { run: 2 }, replayed: false })
  t.match(await client.post('/pay', 'k'), { status: 409, json: { run: 2 }, replayed: true })
})

t.test('with journalAnswers an answer too large to be kept is not run again, even if Redis was emptied', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal, journalAnswers: true, maxBodySize: 10 })
  app.post('/pay', { config: { idempotency: true } }, async () => 'more than ten bytes')
  const client = await listen()
  t.match(await client.post('/pay', 'k'), { status: 200, text: 'more than ten bytes' })
  await app.idempotency.forget('k', 'global')
  t.match(await client.post('/pay', 'k'), {
    status: 409,
    json: { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', originalStatus: 200 }
  })
})
