import { Type } from '@fastify/type-provider-typebox'
import t from 'tap'
import type { FastifySchema } from 'fastify'
import { describe, headersOf } from './helper.ts'
import type { Schema } from './helper.ts'

const OWN = { type: 'object', properties: { error: { type: 'string' } } }
const handler = async () => ({ id: 1, secret: 's' })

/** How the document describes a 409 of a route that has this schema of its own. */
async function conflictOf (t: Parameters<typeof describe>[0], schema: FastifySchema, version = '3.1.0') {
  const { operation } = await describe(t, (app) => {
    app.addSchema({ $id: 'Failure', title: 'Failure', description: 'A failure.', ...OWN })
    app.post('/x', { config: { idempotency: true }, schema }, handler)
  }, { version })
  const { description, headers = {}, content = {} } = operation('/x').responses[409] ?? { description: '' }
  const { 'application/problem+json': problem, ...others } = content
  return {
    description,
    headers: Object.keys(headers),
    problem: problem?.schema,
    others,
    statuses: Object.keys(operation('/x').responses)
  }
}

t.test('a 409 of the route’s own is described beside that of the plugin', async (t) => {
  t.test('in a media type of its own', async (t) => {
    const { description, others, problem } = await conflictOf(t, {
      response: { 409: { description: 'Paid already.', ...OWN } }
    })
    t.match(description, /^Paid already\.\n\n`FST_IDEMPOTENCY_IN_PROGRESS`: a request/)
    t.strictSame(others, { 'application/json': { schema: { description: 'Paid already.', ...OWN } } })
    t.strictSame((problem?.properties as Schema).status, { type: 'integer', enum: [409] })
  })

  t.test('in the media types that the route produces', async (t) => {
    const { others } = await conflictOf(t, {
      produces: ['text/plain', 'text/html'],
      response: { 409: { type: 'string' } }
    })
    t.strictSame(others, { 'text/plain': { schema: { type: 'string' } }, 'text/html': { schema: { type: 'string' } } })
  })

  t.test('in the media type of problems too: it is one or the other', async (t) => {
    const { others, problem } = await conflictOf(t, {
      response: { 409: { description: 'Paid already.', content: { 'application/problem+json': { schema: OWN } } } }
    })
    t.strictSame(others, {})
    t.strictSame((problem?.anyOf as Schema[])[0], OWN)
    t.match((problem?.anyOf as Schema[])[1], { properties: { status: { enum: [409] } } })
  })

  t.test('as a reference to a shared schema', async (t) => {
    const { others } = await conflictOf(t, { response: { 409: { $ref: 'Failure#' } } })
    t.strictSame(others, { 'application/json': { schema: { $ref: '#/components/schemas/def-0' } } })
  })

  t.test('without a body', async (t) => {
    const { description, others, problem } = await conflictOf(t, {
      response: { 409: { type: 'null', 'x-response-description': 'Paid already.' } }
    })
    t.match(description, /^Paid already\.\n\n/)
    t.strictSame(others, {})
    t.ok(problem)
  })

  t.test('with headers of its own, which stay', async (t) => {
    const headers = { 'retry-after': { type: 'string', description: 'A date.' }, 'x-trace': { type: 'string' } }
    const answer = await conflictOf(t, { response: { 409: { ...OWN, headers } } })
    t.strictSame(answer.headers, ['retry-after', 'x-trace', 'Idempotent-Replayed', 'Link'])
    t.strictSame(answer.others, { 'application/json': { schema: OWN } })
  })

  for (const range of ['4xx', '4XX', 'default']) {
    t.test(`as part of ${range}, which would not hold for 409 any more`, async (t) => {
      const { others, statuses } = await conflictOf(t, { response: { [range]: OWN } })
      t.strictSame(others, { 'application/json': { schema: OWN } })
      t.strictSame(statuses, ['400', '409', '415', '422', '503', range === 'default' ? 'default' : '4XX'])
    })
  }

  for (const [version, expected] of [['3.0.3', { example: 'b' }], ['3.1.0', { examples: ['b', 'c'] }]] as const) {
    t.test(`with examples, as OpenAPI ${version} has them`, async (t) => {
      const own = {
        type: 'object',
        properties: {
          examples: { type: 'string', examples: ['b', 'c'] },
          list: { type: 'array', items: { enum: ['d'] } }
        }
      }
      const { others } = await conflictOf(t, { response: { 409: own } }, version)
      t.strictSame(others, {
        'application/json': {
          schema: { ...own, properties: { ...own.properties, examples: { type: 'string', ...expected } } }
        }
      })
    })
  }
})

t.test('a route that does not describe its responses still has its default one', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: true } }, handler)
  })
  const { responses } = operation('/x')
  t.equal(responses[200]?.description, 'Default Response')
  t.ok(responses[200]?.headers?.['Idempotent-Replayed'])
  t.equal(responses[200]?.content, undefined)
})

t.test('the headers that a route describes itself stay', async (t) => {
  const trace = { type: 'string', description: 'Of the call.' }
  const { operation } = await describe(t, (app) => {
    app.addSchema({ $id: 'Traced', type: 'object', required: ['x-trace'], properties: { 'x-trace': trace } })
    const declare = (url: string, headers: Schema) =>
      app.post(url, { config: { idempotency: true }, schema: { headers } }, handler)
    declare('/beside', { type: 'object', required: ['x-trace'], properties: { 'x-trace': trace } })
    declare('/reference', { $ref: 'Traced#' })
    declare('/combined', { allOf: [{ type: 'object', properties: { 'x-trace': trace } }] })
    declare('/same', {
      type: 'object',
      properties: { 'Idempotency-Key': { type: 'string', format: 'uuid', description: 'Ours.' } }
    })
  })
  for (const path of ['/beside', '/reference', '/combined']) {
    const headers = headersOf(operation(path))
    t.strictSame(Object.keys(headers).sort(), ['idempotency-key', 'x-trace'], path)
    t.strictSame(
      headers['x-trace'],
      { required: path !== '/combined', description: 'Of the call.', schema: { type: 'string' } },
      path
    )
    t.equal(headers['idempotency-key']?.required, true, path)
  }
  t.strictSame(headersOf(operation('/same')), {
    'Idempotency-Key': { required: true, description: 'Ours.', schema: { type: 'string', format: 'uuid' } }
  }, 'what the route says of the key itself stays, but it is required')
})

t.test('a route’s schema is left as it is, and validates and serializes as before', async (t) => {
  const schema = {
    headers: Type.Object({ 'x-trace': Type.Optional(Type.String()) }),
    body: Type.Object({ amount: Type.Integer({ minimum: 1 }) }),
    response: {
      200: Type.Object({ id: Type.Integer() }, { description: 'Done.', examples: [{ id: 1 }] }),
      409: Type.Object({ error: Type.String({ examples: ['busy'] }) }),
      '5xx': Type.Object({ message: Type.String() })
    }
  }
  const before = structuredClone(schema)
  const { app } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: true }, schema }, handler)
  }, { version: '3.0.3' })
  t.strictSame(structuredClone(schema), before)

  const post = (key: string | undefined, payload: object) => app.inject({
    method: 'POST', url: '/x', payload, headers: key === undefined ? {} : { 'idempotency-key': key }
  })
  t.equal((await post('k1', { amount: 0 })).json<{ message: string }>().message, 'body/amount must be >= 1')
  t.equal((await post('k1', { amount: 1 })).body, '{"id":1}', 'the secret is not in the schema')
  t.equal((await post('k'.repeat(256), { amount: 1 })).json<{ code: string }>().code, 'FST_IDEMPOTENCY_KEY_INVALID',
    'the plugin judges the key, not the validation of the route')
  t.equal((await post(undefined, { amount: 1 })).json<{ code: string }>().code, 'FST_IDEMPOTENCY_KEY_MISSING')
})
