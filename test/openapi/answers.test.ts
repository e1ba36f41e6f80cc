import { Readable } from 'node:stream'
import Fastify from 'fastify'
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { clientOf, connectRedis, gate, newPrefix, until } from '../helper.ts'
import type { Answer } from '../helper.ts'
import { describe } from './helper.ts'
import type { Operation, Schema } from './helper.ts'

/** Asks Fastify's own validator whether a value matches a schema. */
async function validatorOf (t: Test): Promise<(value: unknown, schema: Schema) => Promise<boolean>> {
  const app = Fastify({ ajv: { customOptions: { coerceTypes: false, removeAdditional: false } } })
  t.teardown(() => app.close())
  app.post('/', async request => request.validateInput(...request.body as [unknown, Schema]))
  return async (value, schema) =>
    (
      await app.inject({ method: 'POST', url: '/', payload: [value, { ...schema, additionalProperties: false }] })
    ).json()
}

const declare = (app: FastifyInstance, until: () => Promise<void> = async () => {}): void => {
  app.addContentTypeParser('application/octet-stream', async (_request: unknown, payload: Readable) => payload)
  app.post('/x', { config: { idempotency: { maxBodySize: 4 } } }, async (request) => {
    await until()
    return (request.body as { answer?: string } | null)?.answer ?? 'ok'
  })
}

t.test('every refusal is as the document describes it: status, headers, media type and members', async (t) => {
  const isValid = await validatorOf(t)
  const running = gate()
  let hold = false
  let began = false
  const { app, operation } = await describe(t, app => declare(app, async () => {
    if (!hold) return
    began = true
    await running.opened
  }))
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  const { responses } = operation('/x')

  const check = async (answer: Answer, status: number, code: string): Promise<void> => {
    const described = responses[status] as Operation['responses'][string]
    t.equal(answer.status, status, code)
    t.equal(answer.json.code, code)
    const media = answer.headers.get('content-type') ?? ''
    t.ok(await isValid(answer.json, described.content?.[media]?.schema as Schema), `${code}: the body fits the schema`)
    for (const name of ['link', 'retry-after']) {
      if (answer.headers.get(name) !== null) {
        t.ok(
          Object.keys(described.headers ?? {}).some(header => header.toLowerCase() === name),
          `${code}: ${name} is described`
        )
      }
    }
    t.equal(answer.headers.get('retry-after') !== null, answer.json.retryable, `${code}: Retry-After`)
  }

  await check(await client.post('/x', null, {}), 400, 'FST_IDEMPOTENCY_KEY_MISSING')
  await check(await client.post('/x', '"', {}), 400, 'FST_IDEMPOTENCY_KEY_INVALID')
  await check(
    await client.post('/x', 'stream', Buffer.from('b'), { 'content-type': 'application/octet-stream' }),
    415,
    'FST_IDEMPOTENCY_BODY_UNREADABLE'
  )

  const first = await client.post('/x', 'settled', {})
  t.equal(first.text, 'ok')
  t.equal(first.headers.get('idempotent-replayed'), null)
  const replay = await client.post('/x', 'settled', {})
  t.equal(
    replay.headers.get('idempotent-replayed'),
    (responses[200]?.headers?.['Idempotent-Replayed']?.schema.enum as string[])[0]
  )
  await check(await client.post('/x', 'settled', { other: true }), 422, 'FST_IDEMPOTENCY_KEY_REUSED')

  await client.post('/x', 'large', { answer: 'too large' })
  await check(await client.post('/x', 'large', { answer: 'too large' }), 409, 'FST_IDEMPOTENCY_NOT_REPLAYABLE')

  hold = true
  const held = client.post('/x', 'running', {})
  await until(() => began, 'the first run')
  await check(await client.post('/x', 'running', {}), 409, 'FST_IDEMPOTENCY_IN_PROGRESS')
  running.open()
  t.equal((await held).text, 'ok')

  const redis = connectRedis(t, { retryStrategy: () => null })
  const keyPrefix = newPrefix()
  const { app: onRedis, operation: same } = await describe(t, declare, { redis, keyPrefix })
  t.strictSame(same('/x').responses, responses)
  const other = clientOf(await onRedis.listen({ port: 0, host: '127.0.0.1' }))
  await other.post('/x', 'k', {})
  const [name = ''] = await redis.keys(`${keyPrefix}*`)
  await redis.set(name, 'of another version')
  await check(await other.post('/x', 'k', {}), 409, 'FST_IDEMPOTENCY_RECORD_UNREADABLE')
  await redis.del(name)
  redis.disconnect()
  await until(() => redis.status === 'end', 'the connection’s end')
  await check(await other.post('/x', 'k', {}), 503, 'FST_IDEMPOTENCY_STORE_UNAVAILABLE')
})

t.test('an app’s error handler answers with the headers that the document describes', async (t) => {
  const { app, operation } = await describe(t, declare, { errors: 'error-handler' })
  const { headers, statusCode } = await app.inject({ method: 'POST', url: '/x' })
  t.equal(statusCode, 400)
  t.strictSame(Object.keys(operation('/x').responses[400]?.headers ?? {}), ['Link'])
  t.match(headers.link, /; rel="describedby"$/)
})
