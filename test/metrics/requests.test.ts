import t from 'tap'
import { gate, until } from '../helper.ts'
import { openDatabase } from '../journal/helper.ts'
import { buildMeasured, counted } from './helper.ts'

t.test('each request is counted once, by what became of its claim', async (t) => {
  const { app, listen, scrape } = await buildMeasured(t)
  const finish = gate()
  let runs = 0
  app.post('/slow', { config: { idempotency: true } }, async () => {
    runs++
    await finish.opened
    return 'done'
  })
  app.post('/flaky', { config: { idempotency: true } }, async (request, reply) => {
    return request.idempotency?.attempt === 1 ? reply.code(503).send('not now') : 'done'
  })
  const client = await listen()
  const owner = client.post('/slow', 'k')
  await until(() => runs === 1)
  t.equal((await client.post('/slow', 'k')).status, 409)
  t.equal((await client.post('/slow', 'k')).status, 409)
  t.equal((await client.post('/slow', 'k', { another: 'body' })).status, 422)
  finish.open()
  await owner
  for (let i = 0; i < 3; i++) t.ok((await client.post('/slow', 'k')).replayed)
  t.equal((await client.post('/flaky', 'k2')).status, 503)
  t.equal((await client.post('/flaky', 'k2')).text, 'done')

  const series = await scrape()
  t.same(counted(series, 'idempotency_requests_total'), {
    'idempotency_requests_total{route="POST /slow",result="claimed"}': 1,
    'idempotency_requests_total{route="POST /slow",result="conflicted"}': 2,
    'idempotency_requests_total{route="POST /slow",result="mismatched"}': 1,
    'idempotency_requests_total{route="POST /slow",result="replayed"}': 3,
    'idempotency_requests_total{route="POST /flaky",result="claimed"}': 1,
    'idempotency_requests_total{route="POST /flaky",result="taken_over"}': 1
  })
  t.same(counted(series, 'idempotency_claim_duration_seconds_count'), {
    'idempotency_claim_duration_seconds_count{route="POST /slow"}': 7,
    'idempotency_claim_duration_seconds_count{route="POST /flaky"}': 2
  })
  t.same(counted(series, 'idempotency_run_duration_seconds_count'), {
    'idempotency_run_duration_seconds_count{route="POST /slow",outcome="completed"}': 1,
    'idempotency_run_duration_seconds_count{route="POST /flaky",outcome="released"}': 1,
    'idempotency_run_duration_seconds_count{route="POST /flaky",outcome="completed"}': 1
  })
})

t.test('what is answered from the replay cache is counted apart, and is no claim whose duration counts', async (t) => {
  const { app, listen, scrape } = await buildMeasured(t, { replayCache: {} }, { gauges: true })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  for (let i = 0; i < 4; i++) t.equal((await client.post('/x', 'k')).text, 'done')
  const series = await scrape()
  t.same(counted(series, 'idempotency_requests_total'), {
    'idempotency_requests_total{route="POST /x",result="claimed"}': 1,
    'idempotency_requests_total{route="POST /x",result="cached"}': 3
  })
  t.same(counted(series, 'idempotency_claim_duration_seconds_count'), {
    'idempotency_claim_duration_seconds_count{route="POST /x"}': 1
  })
  const { cacheEntries, cacheSize } = app.idempotency.stats()
  t.match(series, { idempotency_replay_cache_entries: cacheEntries, idempotency_replay_cache_bytes: cacheSize })
  t.equal(cacheEntries, 1)
})

t.test('a route has one series, whatever its parameters are, and neither keys nor scopes are told', async (t) => {
  const { app, listen, register, scrape } = await buildMeasured(t, {
    scope: request => String(request.headers['x-customer'])
  })
  app.post('/orders/:id/pay', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  // The ids are words: a measured time may contain any digits.
  for (const id of ['order-a', 'order-b', 'order-c']) {
    await client.post(`/orders/${id}/pay?page=${id}`, `secret-key-${id}`, undefined, { 'x-customer': `customer-${id}` })
  }
  t.same(counted(await scrape(), 'idempotency_requests_total'), {
    'idempotency_requests_total{route="POST /orders/:id/pay",result="claimed"}': 3
  })
  t.notMatch(await register.metrics(), /secret-key|customer-|order-[abc]/)
})

t.test('all counters of a route begin at 0 with its first request, so increase() sees the first count', async (t) => {
  const { app, listen, scrape } = await buildMeasured(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.same(await scrape(), {})
  await client.post('/x', 'k')
  const series = await scrape()
  t.match(series, {
    'idempotency_requests_total{route="POST /x",result="claimed"}': 1,
    ...Object.fromEntries(
      ['taken_over', 'replayed', 'cached', 'recalled', 'conflicted', 'mismatched'].map(result => [
        `idempotency_requests_total{route="POST /x",result="${result}"}`,
        0
      ])
    ),
    'idempotency_leases_lost_total{route="POST /x"}': 0,
    ...Object.fromEntries(
      ['claim', 'renew', 'complete', 'release'].map(operation => [
        `idempotency_store_failures_total{route="POST /x",operation="${operation}"}`,
        0
      ])
    )
  })
  t.equal(Object.keys(series).filter(name => name.includes('_total{')).length, 12)
})

t.test('work that is done once by app.idempotency.run is counted as a route of its own', async (t) => {
  const { app, listen, scrape } = await buildMeasured(t)
  await listen()
  for (let i = 0; i < 3; i++) await app.idempotency.run({ scope: 'mails', key: 'm' }, async () => 'sent')
  const series = await scrape()
  t.same(counted(series, 'idempotency_requests_total'), {
    'idempotency_requests_total{route="run",result="claimed"}': 1,
    'idempotency_requests_total{route="run",result="replayed"}': 2
  })
  t.equal(series['idempotency_run_duration_seconds_count{route="run",outcome="completed"}'], 1)
})

t.test('requests that need no key, or have none, are not counted', async (t) => {
  const { app, listen, scrape } = await buildMeasured(t)
  app.post('/open', async () => 'done')
  app.post('/optional', { config: { idempotency: { required: false } } }, async () => 'done')
  app.post('/required', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.equal((await client.post('/open', 'k')).status, 200)
  t.equal((await client.post('/optional')).status, 200)
  t.equal((await client.post('/required')).status, 400)
  t.same(counted(await scrape(), 'idempotency_requests_total'), {})
})

t.test('what is answered from the journal, since Redis had lost it, is counted as recalled', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, scrape } = await buildMeasured(t, { journal: database.journal })
  let paid = false
  app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
    if (paid) return reply.code(409).send('already paid')
    paid = true
    return database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
  })
  const client = await listen()
  t.same((await client.post('/pay', 'k')).json, { receipt: 1 })
  await app.idempotency.forget('k', 'global')
  t.same((await client.post('/pay', 'k')).json, { receipt: 1 })
  const series = await scrape()
  t.same(counted(series, 'idempotency_requests_total'), {
    'idempotency_requests_total{route="POST /pay",result="claimed"}': 2,
    'idempotency_requests_total{route="POST /pay",result="recalled"}': 1
  })
  t.equal(series['idempotency_claim_duration_seconds_count{route="POST /pay"}'], 2)
})
