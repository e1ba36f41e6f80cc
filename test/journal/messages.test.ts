import t from 'tap'
import { build } from '../helper.ts'
import { openDatabase } from './helper.ts'

t.test('an answer completed with headers copied from an upstream reaches the client, and is replayed', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  const copied = {
    'transfer-encoding': 'chunked',
    'keep-alive': 'timeout=5',
    trailer: 'x-checksum',
    'x-charge': 'ch_1'
  }
  app.post('/pay', { config: { idempotency: true } }, async request =>
    database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 }, headers: copied }))
  )
  const client = await listen()
  for (const replayed of [false, true]) {
    const answer = await client.post('/pay', 'k')
    t.match(answer, { status: 200, text: '{"receipt":1}', replayed })
    t.equal(answer.headers.get('x-charge'), 'ch_1')
  }
})

t.test('a name beyond ASCII in a header is the same from Redis, ' +
  'and from the journal where Redis has forgotten it', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal, journalAnswers: true, journalLookup: 'always' })
  app.post('/file', { config: { idempotency: true } }, async (_request, reply) =>
    reply.header('content-disposition', 'attachment; filename="Mü.pdf"').send('text')
  )
  const client = await listen()
  const first = await client.post('/file', 'k')
  const name = first.headers.get('content-disposition')
  t.equal(name, Buffer.from('attachment; filename="Mü.pdf"').toString('latin1'), 'UTF-8, read a byte a character')
  t.match(await client.post('/file', 'k'), { replayed: true })
  t.equal((await client.post('/file', 'k')).headers.get('content-disposition'), name)
  await app.idempotency.forget('k', 'global')
  const recalled = await client.post('/file', 'k')
  t.equal(recalled.replayed, true)
  t.equal(recalled.headers.get('content-disposition'), name)
  t.equal(app.idempotency.stats().recalled, 1)
})

t.test('an onSend hook that fails on the answer of another attempt: the client gets the error alone', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal }, (app) => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-own', 'of the app') })
  })
  let failing = false
  app.addHook('onSend', async (_request, reply, payload) => {
    if (failing && reply.hasHeader('idempotent-replayed')) throw new Error('template broken')
    return payload
  })
  let runs = 0
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    const run = ++runs
    reply.code(201).headers({ location: '/pay/1', 'x-own': 'of the answer' })
    if (run > 1) return { late: true }
    return database.charge(async tx => request.idempotency?.complete(tx, { statusCode: 201, body: { receipt: 1 } }))
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k'), { status: 201, text: '{"receipt":1}' })
  await app.idempotency.forget('k', 'global')
  failing = true
  const failed = await client.post('/pay', 'k')
  t.match(failed, { status: 500, json: { message: 'template broken' }, replayed: false })
  t.equal(failed.headers.get('location'), null)
  t.equal(failed.headers.get('x-own'), 'of the app')
  failing = false
  const retry = await client.post('/pay', 'k')
  t.match(retry, { status: 201, text: '{"receipt":1}', replayed: true })
  t.equal(retry.headers.get('location'), '/pay/1')
  t.equal(runs, 2)
})
