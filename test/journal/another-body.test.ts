import t from 'tap'
import { build, gate, until } from '../helper.ts'
import { openDatabase } from './helper.ts'

const RECEIPT = { status: 200, text: '{"receipt":1}' }

t.test('another body that takes the key when Redis was emptied does not take the answer away from the first, ' +
  'while it runs and when it failed', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  const held = gate()
  let others = 0
  app.post<{ Body: { amount: number } }>('/pay', { config: { idempotency: true } }, async (request, reply) => {
    if (request.body.amount === 1) {
      return database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
    }
    others++
    await held.opened
    return reply.code(503).send({ error: 'ours' })
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k', { amount: 1 }), RECEIPT)
  await app.idempotency.forget('k', 'global')
  const other = client.post('/pay', 'k', { amount: 2 })
  await until(() => others === 1, 'the other body runs')
  t.match(await client.post('/pay', 'k', { amount: 1 }), { ...RECEIPT, replayed: true }, 'while it runs')
  await database.pool.query(`ALTER TABLE ${database.table} RENAME TO ${database.table}_away`)
  t.match(
    await client.post('/pay', 'k', { amount: 1 }),
    { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE', retryable: true } },
    'whose the key is cannot be found out'
  )
  held.open()
  t.equal((await other).status, 503)
  t.match(await app.idempotency.find('k', 'global'), { state: 'released' })
  await database.pool.query(`ALTER TABLE ${database.table}_away RENAME TO ${database.table}`)
  t.match(
    await client.post('/pay', 'k', { amount: 1 }),
    { ...RECEIPT, replayed: true },
    'when it failed, and its record is left behind'
  )
  t.equal((await client.post('/pay', 'k', { amount: 3 })).status, 422)
  t.equal(await database.effects.count(), 1)
})

t.test('a body that is another one for Redis and for the journal is refused', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async request =>
    database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
  )
  const client = await listen()
  await client.post('/pay', 'k', { amount: 1 })
  t.match(await client.post('/pay', 'k', { amount: 2 }), { status: 422, json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' } })
  t.equal(app.idempotency.stats().mismatches, 1)
  t.equal(await database.effects.count(), 1)
})
