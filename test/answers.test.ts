import t from 'tap'
import { build, gate, holdRoute, lookAfterLeasesOften, MemoryStore, SOURCES, until } from './helper.ts'
import type { Answer } from './helper.ts'

const DOCS = 'https://github.com/fastify-idempotency/fastify-idempotency#what-clients-see'

/** Asserts that an answer is a problem document with exactly the members that clients rely on. */
function isProblem (
  t: Parameters<typeof build>[0],
  answer: Answer,
  status: number,
  code: string,
  retryable: boolean,
  others: object = {}
): void {
  t.equal(answer.status, status)
  t.equal(answer.headers.get('content-type'), 'application/problem+json')
  t.equal(answer.headers.get('link'), `<${DOCS}>; rel="describedby"`)
  const { title, detail, ...rest } = answer.json
  t.same(rest, { type: DOCS, status, code, retryable, ...others })
  t.ok(typeof title === 'string' && title.length > 5, `title: ${String(title)}`)
  t.ok(typeof detail === 'string' && detail.length > 20, `detail: ${String(detail)}`)
  t.equal(answer.headers.get('retry-after'), retryable ? '1' : null)
  t.equal(answer.replayed, false)
}

for (const [stored, store] of Object.entries(SOURCES)) {
  t.test(`first use runs the handler, a duplicate gets the same answer and does not (${stored})`, async (t) => {
    const { app, listen } = await build(t, store())
    let runs = 0
    app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
      reply.code(201).header('location', '/x/1').send({ run: ++runs })
    )
    const client = await listen()
    const first = await client.post('/x', 'k', { amount: 1 })
    t.equal(first.status, 201)
    t.equal(first.headers.get('idempotent-replayed'), null)
    for (let i = 0; i < 3; i++) {
      const answer = await client.post('/x', 'k', { amount: 1 })
      t.equal(answer.status, 201)
      t.equal(answer.headers.get('idempotent-replayed'), 'true')
      t.equal(answer.headers.get('location'), '/x/1')
      t.equal(answer.text, '{"run":1}')
    }
    t.equal(runs, 1)
    t.equal((await client.post('/x', 'other', { amount: 1 })).text, '{"run":2}')
  })

  t.test(`a duplicate of a request that still runs is a 409 that says when to come back (${stored})`, async (t) => {
    const { app, listen } = await build(t, store())
    const route = holdRoute(app)
    const client = await listen()
    const owner = client.post('/x', 'k')
    await route.began()
    isProblem(t, await client.post('/x', 'k'), 409, 'FST_IDEMPOTENCY_IN_PROGRESS', true)
    route.finish()
    t.equal((await owner).text, 'done')
    t.equal((await client.post('/x', 'k')).replayed, true)
    t.equal(route.runs(), 1)
  })

  t.test(`another request with the same key is a 422 in every state, and changes no record (${stored})`, async (t) => {
    const { app, listen } = await build(t, store())
    const finish = gate()
    const attempts: number[] = []
    app.post('/x', { config: { idempotency: true } }, async (request) => {
      attempts.push(request.idempotency?.attempt ?? 0)
      if (attempts.length === 1) {
        await finish.opened
        throw new Error('failed')
      }
      return 'done'
    })
    const client = await listen()
    const refused = async (state: string): Promise<void> => {
      const before = await app.idempotency.find('k', 'global')
      t.equal(before?.state, state)
      isProblem(t, await client.post('/x', 'k', { amount: 2 }), 422, 'FST_IDEMPOTENCY_KEY_REUSED', false)
      const after = await app.idempotency.find('k', 'global')
      t.same(
        { ...after, expiresIn: 0, leaseLeft: 0 },
        { ...before, expiresIn: 0, leaseLeft: 0 },
        `the ${state} record is untouched`
      )
      t.ok((after?.expiresIn ?? 0) <= (before?.expiresIn ?? 0), 'and not kept for longer')
    }
    const first = client.post('/x', 'k', { amount: 1 })
    await until(() => attempts.length === 1)
    await refused('running')
    finish.open()
    t.equal((await first).status, 500)
    await refused('released')
    t.equal((await client.post('/x', 'k', { amount: 1 })).text, 'done')
    await refused('settled')
    t.equal((await client.post('/x', 'k', { amount: 1 })).replayed, true)
    t.same(attempts, [1, 2])
  })

  t.test(`a failed handler releases the key: each retry runs at once and knows what it is (${stored})`, async (t) => {
    const { app, listen } = await build(t, { lease: 600_000, ...store() })
    const attempts: number[] = []
    app.post('/x', { config: { idempotency: true } }, async (request) => {
      attempts.push(request.idempotency?.attempt ?? 0)
      if (attempts.length < 4) throw new Error('provider down')
      return 'done'
    })
    const client = await listen()
    for (let i = 1; i < 4; i++) t.equal((await client.post('/x', 'k')).status, 500)
    t.equal((await client.post('/x', 'k')).text, 'done')
    t.equal((await client.post('/x', 'k')).replayed, true)
    t.same(attempts, [1, 2, 3, 4])
  })

  t.test(`an answer too large to keep: the duplicate is told its status, and nothing runs (${stored})`, async (t) => {
    const { app, listen } = await build(t, { maxBodySize: 10, ...store() })
    let runs = 0
    app.post('/x', { config: { idempotency: true } }, async (request, reply) => {
      runs++
      return reply.code(201).send((request.body as { text: string }).text)
    })
    const client = await listen()
    t.equal((await client.post('/x', 'fits', { text: 'x'.repeat(10) })).status, 201)
    t.equal((await client.post('/x', 'fits', { text: 'x'.repeat(10) })).replayed, true)
    for (const text of ['x'.repeat(11), 'é'.repeat(6)]) {
      t.equal((await client.post('/x', text.length.toString(), { text })).text, text)
      isProblem(
        t,
        await client.post('/x', text.length.toString(), { text }),
        409,
        'FST_IDEMPOTENCY_NOT_REPLAYABLE',
        false,
        { originalStatus: 201 }
      )
    }
    t.equal(runs, 3)
  })

  t.test(`an outcome is forgotten when its retention is over: the key is a first use again (${stored})`, async (t) => {
    const { app, listen, passTime } = await build(t, { retention: 60_000, ...store() })
    const attempts: number[] = []
    app.post('/x', { config: { idempotency: true } }, async (request) => {
      attempts.push(request.idempotency?.attempt ?? 0)
    })
    const client = await listen()
    await client.post('/x', 'k')
    t.equal((await client.post('/x', 'k')).replayed, true)
    await passTime(60_000)
    t.equal(await app.idempotency.find('k', 'global'), null)
    t.equal((await client.post('/x', 'k')).replayed, false)
    t.same(attempts, [1, 1])
  })
}

t.test('missing and malformed keys, and bodies that cannot be compared, are problems of the same form', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.addContentTypeParser('application/x-stream', (_request, payload, done) => done(null, payload))
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  isProblem(t, await client.post('/x'), 400, 'FST_IDEMPOTENCY_KEY_MISSING', false)
  isProblem(t, await client.post('/x', '"'), 400, 'FST_IDEMPOTENCY_KEY_INVALID', false)
  isProblem(
    t,
    await client.post('/x', 'k', 'x', { 'content-type': 'application/x-stream' }),
    415,
    'FST_IDEMPOTENCY_BODY_UNREADABLE',
    false
  )
})

t.test('statuses below 500 are kept, but for 425 and 429; the others release the key', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.post('/x', { config: { idempotency: true } }, async (request, reply) =>
    reply.code(Number(request.headers['x-status'])).send()
  )
  const client = await listen()
  const released: number[] = []
  for (const status of [
    200, 201, 202, 204, 400, 401, 402, 403, 404, 409, 410, 418, 422, 425, 428, 429, 451, 500, 501, 502, 503, 504, 599
  ]) {
    await client.post('/x', `k${status}`, undefined, { 'x-status': String(status) })
    const again = await client.post('/x', `k${status}`, undefined, { 'x-status': String(status) })
    t.equal(again.status, status)
    if (!again.replayed) released.push(status)
  }
  t.same(released, [425, 429, 500, 501, 502, 503, 504, 599])
})

t.test('a handler’s 408 says that nobody knows the outcome: the key stays taken until its lease is over', async (t) => {
  const { app, listen, passTime } = await build(t, { lease: 60_000, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const attempts: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request, reply) => {
    attempts.push(request.idempotency?.attempt)
    return reply.code(attempts.length === 1 ? 408 : 200).send('answer')
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).status, 408)
  isProblem(t, await client.post('/x', 'k'), 409, 'FST_IDEMPOTENCY_IN_PROGRESS', true)
  await passTime(60_000)
  await until(async () => (await client.post('/x', 'k')).status === 200, 'the next attempt')
  t.same(attempts, [1, 2])
  t.equal(app.idempotency.stats().leasesLost, 0, 'nobody lost anything')
})

t.test('replayable says what becomes of a 408 where it is given', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), replayable: status => status === 408 })
  app.post('/x', { config: { idempotency: true } }, async (request, reply) =>
    reply.code(Number(request.headers['x-status'])).send('answer')
  )
  const client = await listen()
  for (const [status, replayed] of [['408', true], ['409', false]] as const) {
    await client.post('/x', status, undefined, { 'x-status': status })
    t.equal((await client.post('/x', status, undefined, { 'x-status': status })).replayed, replayed)
  }
})

t.test('replayable decides instead; if it throws, the default does, and the client gets its answer', async (t) => {
  const { app, listen, logged } = await build(t, { store: new MemoryStore() })
  const handler = async (
    request: { headers: Record<string, unknown> },
    reply: { code: (status: number) => { send: (body: string) => unknown } }
  ): Promise<unknown> => reply.code(Number(request.headers['x-status'])).send('answer')
  app.post('/own', { config: { idempotency: { replayable: status => status === 503 } } }, handler)
  app.post('/throws', { config: { idempotency: { replayable: () => { throw new Error('oops') } } } }, handler)
  app.post('/promises', { config: { idempotency: { replayable: async () => true } } }, handler)
  const client = await listen()
  const replays = async (path: string, status: number): Promise<boolean> => {
    const headers = { 'x-status': String(status) }
    t.equal((await client.post(path, `${path.slice(1)}${status}`, undefined, headers)).status, status)
    return (await client.post(path, `${path.slice(1)}${status}`, undefined, headers)).replayed
  }
  t.equal(await replays('/own', 503), true)
  t.equal(await replays('/own', 200), false)
  t.equal(await replays('/throws', 200), true)
  t.equal(await replays('/throws', 500), false)
  t.equal(await replays('/promises', 500), true, 'a promise is waited for')
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('"replayable" of POST /throws failed')))
})

t.test('release(): whatever is answered is not kept, and the next retry runs', async (t) => {
  const { app, listen } = await build(t)
  const attempts: number[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    attempts.push(request.idempotency?.attempt ?? 0)
    if (attempts.length === 1) {
      request.idempotency?.release()
      return 'try again'
    }
    return 'done'
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'try again')
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.equal((await client.post('/x', 'k')).replayed, true)
  t.same(attempts, [1, 2])
})
