import { createRequire } from 'node:module'
import t from 'tap'
import { IdempotencyError } from '../plugin/index.ts'
import { build, MemoryStore } from './helper.ts'

t.test('with errors: error-handler, refusals go to the app’s own handler as errors with all they need', async (t) => {
  const { app, listen } = await build(t, {
    store: new MemoryStore(),
    errors: 'error-handler',
    docsUrl: 'https://docs.example/idempotency',
    retryAfter: 9
  })
  const seen: unknown[] = []
  app.setErrorHandler((error, _request, reply) => {
    seen.push(error)
    if (!(error instanceof IdempotencyError)) throw error
    return reply.code(error.statusCode).send({ own: error.code, retryable: error.retryable, title: error.title })
  })
  app.post('/x', { config: { idempotency: true } }, async () => {
    const answer = await client.post('/x', 'k')
    t.equal(answer.status, 409)
    t.same(answer.json, {
      own: 'FST_IDEMPOTENCY_IN_PROGRESS',
      retryable: true,
      title: 'Request with this idempotency key in progress'
    })
    t.equal(answer.headers.get('retry-after'), '9')
    t.equal(answer.headers.get('link'), '<https://docs.example/idempotency>; rel="describedby"')
    return 'done'
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.equal((await client.post('/x', 'k')).replayed, true)
  const reused = await client.post('/x', 'k', { another: 'body' })
  t.equal(reused.status, 422)
  t.same(reused.json, {
    own: 'FST_IDEMPOTENCY_KEY_REUSED',
    retryable: false,
    title: 'Idempotency key reused for another request'
  })
  t.equal(reused.headers.get('retry-after'), null)
  t.equal((await client.post('/x')).json.own, 'FST_IDEMPOTENCY_KEY_MISSING')
  t.equal(seen.length, 3)
})

t.test('with errors: error-handler and no handler of one’s own, Fastify’s default answers', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), errors: 'error-handler' })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const answer = await (await listen()).post('/x')
  t.equal(answer.status, 400)
  t.match(answer.json, {
    statusCode: 400,
    code: 'FST_IDEMPOTENCY_KEY_MISSING',
    error: 'Bad Request',
    message: /header idempotency-key/
  })
})

t.test('docsUrl is the type of every problem and where its Link points', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), docsUrl: 'https://docs.example/idempotency' })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const answer = await (await listen()).post('/x')
  t.equal(answer.json.type, 'https://docs.example/idempotency')
  t.equal(answer.headers.get('link'), '<https://docs.example/idempotency>; rel="describedby"')
})

for (const errors of ['problem+json', 'error-handler'] as const) {
  t.test(`a refusal has its own Link beside those that the app sets on each answer (errors: ${errors})`, async (t) => {
    const apps = {
      one: '</terms>; rel="terms-of-service"',
      several: ['</terms>; rel="terms-of-service"', '</privacy>; rel="privacy-policy"']
    }
    for (const [how, link] of Object.entries(apps)) {
      const { app, listen } = await build(
        t,
        { store: new MemoryStore(), errors, docsUrl: 'https://docs.example/idempotency' },
        (app) => {
          app.addHook('onRequest', async (_request, reply) => { reply.header('link', link) })
        }
      )
      app.post('/x', { config: { idempotency: true } }, async () => 'done')
      const client = await listen()
      const refused = await client.post('/x')
      t.equal(refused.status, 400)
      t.equal(
        refused.headers.get('link'),
        [...[link].flat(), '<https://docs.example/idempotency>; rel="describedby"'].join(', '),
        how
      )
      t.equal(
        (await client.post('/x', 'k')).headers.get('link'),
        [link].flat().join(', '),
        'and no other answer has it'
      )
    }
  })
}

t.test('refusals are http-errors errors, exposed to the client unless the app is mistaken', async (t) => {
  // The errors that @fastify/sensible throws, and that Nest's exception filter and Koa look for.
  const { isHttpError } = createRequire(import.meta.resolve('@fastify/sensible'))('http-errors') as {
    isHttpError: (error: unknown) => boolean
  }
  const exposed = new Map<string, boolean>()
  const { app, listen } = await build(t, {
    store: new MemoryStore(),
    errors: 'error-handler',
    scope: request => request.headers['x-user'] as string
  })
  app.setErrorHandler((error: IdempotencyError, _request, reply) => {
    t.ok(isHttpError(error), error.code)
    t.equal(error.status, error.statusCode)
    exposed.set(error.code, error.expose)
    return reply.code(error.status).send(error.expose ? error.message : 'Internal Server Error')
  })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.equal((await client.post('/x')).status, 400)
  await client.post('/x', 'k', { a: 1 }, { 'x-user': 'u' })
  t.equal((await client.post('/x', 'k', { a: 2 }, { 'x-user': 'u' })).status, 422)
  t.match(await client.post('/x', 'k'), { status: 500, text: 'Internal Server Error' })
  t.same(Object.fromEntries(exposed), {
    FST_IDEMPOTENCY_KEY_MISSING: true,
    FST_IDEMPOTENCY_KEY_REUSED: true,
    FST_IDEMPOTENCY_SCOPE_INVALID: false
  })
  t.match(new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'Later'), { status: 503, expose: true })
})

t.test('a response schema, a serializer or an error handler of the app does not change a problem', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.setReplySerializer(payload => `serialized ${JSON.stringify(payload)}`)
  app.setErrorHandler(() => ({ own: true }))
  app.post('/x', {
    config: { idempotency: true },
    schema: { response: { '4xx': { type: 'object', properties: { only: { type: 'string' } } } } }
  }, async () => 'done')
  const answer = await (await listen()).post('/x')
  t.equal(answer.status, 400)
  t.equal(answer.headers.get('content-type'), 'application/problem+json')
  t.same(Object.keys(answer.json).sort(), ['code', 'detail', 'retryable', 'status', 'title', 'type'])
})
