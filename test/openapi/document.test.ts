import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { describe, headersOf } from './helper.ts'

const RECEIPT = { type: 'object', properties: { orderId: { type: 'string' }, paid: { type: 'boolean' } } }

const routes = (app: FastifyInstance): void => {
  app.post('/orders/:id/pay', {
    config: { idempotency: true },
    schema: {
      operationId: 'pay',
      params: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
      body: { type: 'object', required: ['method'], properties: { method: { type: 'string' } } },
      response: {
        200: { description: 'The order is paid.', ...RECEIPT },
        '4xx': { description: 'The order cannot be paid.', type: 'null' }
      }
    }
  }, async () => ({ orderId: 'o', paid: true }))
  app.get('/orders/:id', { schema: { response: { 200: RECEIPT } } }, async () => ({ orderId: 'o', paid: false }))
}

const problem = (status: number, codes: string[], more: Record<string, unknown> = {}) => ({
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'retryable'],
  properties: {
    type: { type: 'string', format: 'uri', description: 'Where the problem is explained.' },
    title: { type: 'string' },
    status: { type: 'integer', enum: [status] },
    detail: { type: 'string' },
    code: { type: 'string', enum: codes },
    retryable: { type: 'boolean', description: 'Whether the same request, sent again as it is, can succeed.' },
    ...more
  }
})

const LINK = { description: 'Where the problem is explained: `<…>; rel="describedby"`.', schema: { type: 'string' } }
const RETRY_AFTER = {
  description: 'Seconds to wait before the request is sent again. Only where that can help.',
  schema: { type: 'integer', minimum: 0 }
}
const REPLAYED = {
  description: 'This is the stored answer to an earlier request with the same idempotency key.',
  schema: { type: 'string', enum: ['true'] }
}

const CONFLICTS = ['FST_IDEMPOTENCY_IN_PROGRESS', 'FST_IDEMPOTENCY_NOT_REPLAYABLE', 'FST_IDEMPOTENCY_RECORD_UNREADABLE']

for (const version of ['3.0.3', '3.1.0', '3.2.0']) {
  for (const swaggerLast of [false, true]) {
    t.test(`an OpenAPI ${version} document tells all about a protected route, ` +
      `with @fastify/swagger registered ${swaggerLast ? 'after' : 'before'} the plugin`, async (t) => {
      const { operation } = await describe(t, routes, { version, swaggerLast })
      const pay = operation('/orders/{id}/pay')

      t.strictSame(headersOf(pay), {
        'idempotency-key': {
          required: true,
          description: 'A value that is unique to the operation, such as a UUID, and the same one with every retry: ' +
            '1 to 255 visible ASCII characters, bare or as a quoted string (RFC 9651).',
          schema: {
            type: 'string',
            minLength: 1,
            maxLength: 255,
            pattern: '^([!#-~]+|"([!#-\\[\\]-~]|\\\\["\\\\])+")$'
          }
        }
      })
      t.strictSame(
        pay.parameters?.map(({ name }) => name).sort(),
        ['id', 'idempotency-key'],
        'the route’s own are still there'
      )

      t.strictSame(Object.keys(pay.responses), ['200', '400', '409', '415', '422', '503', '4XX'])
      t.strictSame(pay.responses[200], {
        description: 'The order is paid.',
        headers: { 'Idempotent-Replayed': REPLAYED },
        content: { 'application/json': { schema: { description: 'The order is paid.', ...RECEIPT } } }
      })
      t.strictSame(pay.responses['4XX'], {
        description: 'The order cannot be paid.',
        headers: { 'Idempotent-Replayed': REPLAYED }
      })
      t.strictSame(pay.responses[409], {
        description:
          'The order cannot be paid.\n\n' +
          '`FST_IDEMPOTENCY_IN_PROGRESS`: a request with this idempotency key is being worked on: ' +
          'send it again later to get its answer.\n\n' +
          '`FST_IDEMPOTENCY_NOT_REPLAYABLE`: the request with this idempotency key was carried out, ' +
          'but its response was not kept: look its effect up instead of sending it again.\n\n' +
          '`FST_IDEMPOTENCY_RECORD_UNREADABLE`: the request with this idempotency key may have been carried out, ' +
          'by another version of the service: look its effect up instead of sending it again.',
        headers: { 'Idempotent-Replayed': REPLAYED, 'Retry-After': RETRY_AFTER, Link: LINK },
        content: {
          'application/problem+json': {
            schema: problem(409, CONFLICTS, {
              originalStatus: { type: 'integer', description: 'The status of the response that was not kept.' }
            })
          }
        }
      })
      t.strictSame(pay.responses[503], {
        description: '`FST_IDEMPOTENCY_STORE_UNAVAILABLE`: the request was not carried out, ' +
          'since it could not be protected against being carried out twice: send it again later.',
        headers: { 'Retry-After': RETRY_AFTER, Link: LINK },
        content: { 'application/problem+json': { schema: problem(503, ['FST_IDEMPOTENCY_STORE_UNAVAILABLE']) } }
      })
      for (const [status, codes] of [
        [400, ['FST_IDEMPOTENCY_KEY_MISSING', 'FST_IDEMPOTENCY_KEY_INVALID']],
        [415, ['FST_IDEMPOTENCY_BODY_UNREADABLE']],
        [422, ['FST_IDEMPOTENCY_KEY_REUSED']]
      ] as const) {
        t.strictSame(pay.responses[status]?.headers, { 'Idempotent-Replayed': REPLAYED, Link: LINK }, `${status}`)
        t.strictSame(
          pay.responses[status]?.content,
          { 'application/problem+json': { schema: problem(status, [...codes]) } },
          `${status}`
        )
      }
    })
  }

  t.test(`an OpenAPI ${version} document says nothing new about routes that are not protected, ` +
    'HEAD siblings included', async (t) => {
    const declare = (app: FastifyInstance): void => {
      app.get(
        '/protected',
        { config: { idempotency: true }, schema: { operationId: 'get', response: { 200: RECEIPT } } },
        async () => ({})
      )
      app.post(
        '/left-out',
        { config: { idempotency: false }, schema: { response: { 200: RECEIPT } } },
        async () => ({})
      )
      app.put('/idempotent-by-itself', { schema: { response: { 200: RECEIPT } } }, async () => ({}))
    }
    const options = { version, global: true }
    const { document } = await describe(t, declare, { ...options, swagger: { exposeHeadRoutes: true } })
    const { document: plain } = await describe(t, declare, {
      ...options,
      swagger: { exposeHeadRoutes: true, transform: ({ schema, url }) => ({ schema, url }) }
    })
    t.ok(document.paths['/protected']?.head, 'the sibling is described')
    t.ok(document.paths['/protected']?.get?.responses[409], 'the route itself is protected')
    delete document.paths['/protected']?.get
    delete plain.paths['/protected']?.get
    t.strictSame(document, plain)
  })
}
