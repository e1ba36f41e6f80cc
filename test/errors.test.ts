import t from 'tap'
import { IdempotencyError } from '../plugin/index.ts'
import { build, MemoryStore } from './helper.ts'

t.test('with errors: error-handler, refusals go to the app’s own handler as errors with all they need', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), errors: 'error-handler', docsUrl: 'https://docs.example/idempotency', retryAfter: 9 })
  const seen: unknown[] = []
  app.setErrorHandler((error, _request, reply) => {
    seen.push(error)
    if (!(error instanceof IdempotencyError)) throw error
    return reply.code(error.statusCode).send({ own: error.code, retryable: error.retryable, title: error.title })
  })
  app.post('/x', { config: { idempotency: true } }, async () => {
    const answer = await client.post('/x', 'k')
    t.equal(answer.status, 409)
    t.same(answer.json, { own: 'FST_IDEMPOTENCY_IN_PROGRESS', retryable: true, title: 'Request with this idempotency key in progress' })
    t.equal(answer.headers.get('retry-after'), '9')
    t.equal(answer.headers.get('link'), '<https://docs.example/idempotency>; rel="describedby"')
    return 'done'
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.equal((await client.post('/x', 'k')).replayed, true)
  const reused = await client.post('/x', 'k', { another: 'body' })
  t.equal(reused.status, 422)
  t.same(reused.json, { own: 'FST_IDEMPOTENCY_KEY_REUSED', retryable: false, title: 'Idempotency key reused for another request' })
  t.equal(reused.headers.get('retry-after'), null)
  t.equal((await client.post('/x')).json.own, 'FST_IDEMPOTENCY_KEY_MISSING')
  t.equal(seen.length, 3)
})

t.test('with errors: error-handler and no handler of one’s own, Fastify’s default answers', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), errors: 'error-handler' })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const answer = await (await listen()).post('/x')
  t.equal(answer.status, 400)
  t.match(answer.json, { statusCode: 400, code: 'FST_IDEMPOTENCY_KEY_MISSING', error: 'Bad Request', message: /header idempotency-key/ })
})

t.test('docsUrl is the type of every problem and where its Link points', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), docsUrl: 'https://docs.example/idempotency' })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const answer = await (await listen()).post('/x')
  t.equal(answer.json.type, 'https://docs.example/idempotency')
  t.equal(answer.headers.get('link'), '<https://docs.example/idempotency>; rel="describedby"')
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
