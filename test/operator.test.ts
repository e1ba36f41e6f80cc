import t from 'tap'
import { build, gate, SOURCES, until } from './helper.ts'

for (const [stored, options] of Object.entries(SOURCES)) {
  t.test(`an operator finds a key in each of its states, and can have it forgotten (${stored})`, async (t) => {
    const { app, listen } = await build(t, {
      lease: 20_000,
      retention: 60_000,
      ...options()
    })
    let finish = gate()
    let runs = 0
    app.post('/x', { config: { idempotency: true } }, async (_request, reply) => {
      runs++
      await finish.opened
      return reply.code(runs === 1 ? 503 : 201).header('x-list', ['a', 'b']).send({ run: runs })
    })
    const client = await listen()
    t.equal(await app.idempotency.find('k', 'global'), null)
    t.equal(await app.idempotency.forget('k', 'global'), false)

    const first = client.post('/x', 'k')
    await until(() => runs === 1)
    const running = await app.idempotency.find('k', 'global')
    t.match(running, { state: 'running', attempt: 1, statusCode: null, response: null })
    t.ok((running?.leaseLeft ?? 0) > 15_000 && (running?.leaseLeft ?? 0) <= 20_000)
    t.equal(app.idempotency.stats().running, 1)
    finish.open()
    await first
    t.match(await app.idempotency.find('k', 'global'), {
      state: 'released',
      attempt: 1,
      leaseLeft: null,
      statusCode: null,
      response: null
    })

    finish = gate()
    finish.open()
    await client.post('/x', 'k')
    const settled = await app.idempotency.find('k', 'global')
    t.match(settled, { state: 'settled', attempt: 2, leaseLeft: null, statusCode: 201 })
    t.same(settled?.response?.headers, { 'content-type': 'application/json; charset=utf-8', 'x-list': ['a', 'b'] })
    t.equal(settled?.response?.body.toString(), '{"run":2}')
    t.ok((settled?.expiresIn ?? 0) > 50_000 && (settled?.expiresIn ?? 0) <= 60_000)
    t.equal(await app.idempotency.find('k', 'another scope'), null)

    t.equal(await app.idempotency.forget('k', 'global'), true)
    t.equal(await app.idempotency.find('k', 'global'), null)
    t.equal((await client.post('/x', 'k')).text, '{"run":3}')
  })

  t.test(`the counts tell what happened in this process (${stored})`, async (t) => {
    const { app, listen } = await build(t, options())
    const finish = gate()
    let runs = 0
    app.post('/x', { config: { idempotency: true } }, async () => {
      if (++runs === 1) throw new Error('failed')
      await finish.opened
      return 'done'
    })
    const client = await listen()
    const none = {
      claimed: 0,
      retried: 0,
      completed: 0,
      released: 0,
      replayed: 0,
      recalled: 0,
      conflicts: 0,
      mismatches: 0,
      waited: 0,
      leasesLost: 0,
      storeErrors: 0,
      bypassed: 0,
      running: 0,
      waiting: 0,
      pending: 0,
      cached: 0,
      cacheEntries: 0,
      cacheSize: 0
    }
    t.same(app.idempotency.stats(), none)
    await client.post('/x', 'k')
    const second = client.post('/x', 'k')
    await until(() => runs === 2)
    await client.post('/x', 'k')
    await client.post('/x', 'k', { other: 1 })
    t.same(app.idempotency.stats(), {
      ...none,
      claimed: 2,
      retried: 1,
      released: 1,
      conflicts: 1,
      mismatches: 1,
      running: 1
    })
    finish.open()
    await second
    await client.post('/x', 'k')
    await client.post('/x', 'k')
    const stats = app.idempotency.stats()
    t.same(stats, {
      ...none,
      claimed: 2,
      retried: 1,
      released: 1,
      completed: 1,
      replayed: 2,
      conflicts: 1,
      mismatches: 1,
      // What an entry takes is an estimate.
      ...(stored === 'the replay cache' && { cached: 2, cacheEntries: 1, cacheSize: stats.cacheSize })
    })
    t.equal(stats.cacheSize > 0, stored === 'the replay cache')
  })
}
