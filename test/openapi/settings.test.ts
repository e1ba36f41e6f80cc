import t from 'tap'
import { codesOf, describe, headersOf } from './helper.ts'

const handler = async () => 'done'

t.test('the document names the header that a route takes its key from, ' +
  'and none where the key comes from elsewhere', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/default', { config: { idempotency: true } }, handler)
    app.post('/own', { config: { idempotency: { header: 'PayPal-Request-Id' } } }, handler)
    app.post('/event', { config: { idempotency: { key: request => (request.body as { id: string }).id } } }, handler)
  }, { header: 'X-Request-Key' })
  t.strictSame(Object.keys(headersOf(operation('/default'))), ['x-request-key'])
  t.strictSame(Object.keys(headersOf(operation('/own'))), ['paypal-request-id'])
  t.equal(operation('/event').parameters, undefined)
  t.strictSame(codesOf(operation('/event').responses[400]), [
    'FST_IDEMPOTENCY_KEY_MISSING',
    'FST_IDEMPOTENCY_KEY_INVALID'
  ])
})

t.test('the document says that a key is optional where requests without one run unprotected', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: { required: false } } }, handler)
  })
  const key = headersOf(operation('/x'))['idempotency-key']
  t.equal(key?.required, false)
  t.match(key?.description, /Without it nothing keeps a retry from being carried out again\.$/)
  t.strictSame(codesOf(operation('/x').responses[400]), ['FST_IDEMPOTENCY_KEY_INVALID'], 'it cannot be missing')
})

t.test('the document has a 503 only where a store that fails is the client’s business', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/rejects', { config: { idempotency: true } }, handler)
    app.post('/bypasses', { config: { idempotency: { onStoreError: 'bypass', onConflict: 'reject' } } }, handler)
    app.post('/waits', { config: { idempotency: { onStoreError: 'bypass', onConflict: 'wait' } } }, handler)
    app.post('/may-wait', { config: { idempotency: { onStoreError: 'bypass' } } }, handler)
  })
  t.strictSame(codesOf(operation('/rejects').responses[503]), ['FST_IDEMPOTENCY_STORE_UNAVAILABLE'])
  t.equal(operation('/bypasses').responses[503], undefined)
  for (const path of ['/waits', '/may-wait']) {
    const codes = codesOf(operation(path).responses[503])
    t.strictSame(codes, ['FST_IDEMPOTENCY_STORE_UNAVAILABLE'], 'whoever waits for a run must not join it')
  }
})

t.test('the document has a 415 only where there is a body that might not be comparable', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/body', { config: { idempotency: true } }, handler)
    app.post('/own-fingerprint', { config: { idempotency: { fingerprint: () => 'same' } } }, handler)
    app.get('/no-body', { config: { idempotency: true } }, handler)
  })
  t.strictSame(codesOf(operation('/body').responses[415]), ['FST_IDEMPOTENCY_BODY_UNREADABLE'])
  t.equal(operation('/own-fingerprint').responses[415], undefined)
  t.equal(operation('/no-body', 'get').responses[415], undefined)
  t.ok(operation('/no-body', 'get').responses[422], 'it is protected all the same')
})

t.test('the document announces a replay where a response can be one', async (t) => {
  const response = {
    200: { type: 'string' },
    302: { type: 'null' },
    404: { type: 'string' },
    429: { type: 'string' },
    500: { type: 'string' },
    '5xx': { type: 'string' },
    default: { type: 'string' }
  }
  const { operation } = await describe(t, (app) => {
    app.post('/default', { config: { idempotency: true }, schema: { response } }, handler)
    app.post(
      '/own',
      { config: { idempotency: { replayable: statusCode => statusCode === 500 } }, schema: { response } },
      handler
    )
  })
  const announced = (path: string) => Object.entries(operation(path).responses)
    .filter(([, { headers }]) => headers?.['Idempotent-Replayed'] !== undefined).map(([status]) => status)
  t.strictSame(announced('/default'), ['200', '302', '400', '404', '409', '415', '422', 'default'])
  t.strictSame(announced('/own'), ['500', '5XX', 'default'])
})

t.test('the document of a route with more methods than POST and PATCH says which of them it concerns', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.route({ method: ['GET', 'POST', 'PATCH'], url: '/x', handler })
    app.route({ method: ['POST', 'PATCH'], url: '/y', handler })
    app.route({ method: ['PUT', 'DELETE'], url: '/z', handler })
    app.route({ method: ['PUT', 'DELETE'], url: '/asked', config: { idempotency: true }, handler })
  }, { global: true })
  for (const method of ['get', 'post', 'patch']) {
    const key = headersOf(operation('/x', method))['idempotency-key']
    t.equal(key?.required, false, `${method}: not all of them need it`)
    t.match(key?.description, /^For POST, PATCH\. /)
  }
  t.equal(headersOf(operation('/y'))['idempotency-key']?.required, true)
  t.equal(operation('/z', 'put').parameters, undefined)
  t.equal(headersOf(operation('/asked', 'delete'))['idempotency-key']?.required, true)
})

t.test('a key format of the app’s own is not described as if it were the default', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: { validateKey: key => /^[0-9a-f]{32}$/.test(key) } } }, handler)
  })
  const key = headersOf(operation('/x'))['idempotency-key']
  t.strictSame(key?.schema, { type: 'string', minLength: 1 })
  t.notMatch(key?.description, /255/)
})

t.test('where the app’s error handler words the refusals, the document does not say what it writes', async (t) => {
  const error = { type: 'object', properties: { message: { type: 'string' } } }
  const { operation } = await describe(t, (app) => {
    app.post(
      '/x',
      {
        config: { idempotency: true },
        schema: { response: { 200: { type: 'string' }, 409: { description: 'Paid already.', ...error } } }
      },
      handler
    )
  }, { errors: 'error-handler' })
  const { responses } = operation('/x')
  t.strictSame(Object.keys(responses), ['200', '400', '409', '415', '422', '503'])
  t.strictSame(Object.keys(responses[422] ?? {}), ['description', 'headers'])
  t.strictSame(Object.keys(responses[503]?.headers ?? {}), ['Retry-After', 'Link'])
  t.strictSame(responses[409]?.content, { 'application/json': { schema: { description: 'Paid already.', ...error } } })
  t.match(responses[409]?.description, /^Paid already\.\n\n`FST_IDEMPOTENCY_IN_PROGRESS`: a request/)
})
