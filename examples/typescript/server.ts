import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts'
import Fastify from 'fastify'
import type { FastifyRequest } from 'fastify'
import idempotency, { canonicalJson } from 'fastify-idempotency'
import { Redis } from 'ioredis'

declare module 'fastify' {
  interface FastifyRequest {
    customer: string
  }
}

const port = process.env.PORT || '3000'
const redisUrl = process.env.REDIS_URL || 'redis://localhost:6379'
const problems: string[] = []
if (!/^\d{1,5}$/.test(port)) problems.push('PORT must be a number, such as 3000')
if (!/^rediss?:\/\//.test(redisUrl) || !URL.canParse(redisUrl)) {
  problems.push('REDIS_URL must be a URL, such as redis://localhost:6379')
}
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}

const app = Fastify({ logger: true }).withTypeProvider<JsonSchemaToTsProvider>()
const redis = new Redis(redisUrl)
// ioredis connects again by itself. Until then the plugin answers 503.
redis.on('error', (err) => app.log.error({ err }, 'Redis cannot be reached'))

const customers = new Map([['alice-token', 'alice'], ['bob-token', 'bob']])
app.decorateRequest('customer', '')
app.addHook('onRequest', async (request) => {
  const customer = customers.get(request.headers.authorization?.replace('Bearer ', '') ?? '')
  if (customer === undefined) throw Object.assign(new Error('The token is not known'), { statusCode: 401 })
  request.customer = customer
})

await app.register(idempotency, { redis, scope: (request) => request.customer })

const body = {
  type: 'object',
  additionalProperties: false,
  required: ['to', 'amount', 'sentAt'],
  properties: { to: { type: 'string' }, amount: { type: 'integer', minimum: 1 }, sentAt: { type: 'integer' } }
} as const

/** Each try has the time at which it was sent. It is no part of what makes two requests the same, so it is left out. */
function fingerprint (request: FastifyRequest): string {
  // The fingerprint is taken before validation, so the body may be anything here.
  return canonicalJson({ ...request.body as object, sentAt: undefined })
}

let transfers = 0

app.post('/transfers', { schema: { body }, config: { idempotency: { fingerprint } } }, async (request, reply) => {
  const { to, amount } = request.body
  transfers += 1 // Here your service makes the transfer.
  reply.code(201)
  return { transfer: transfers, from: request.customer, to, amount }
})

await app.listen({ port: Number(port) })

for (const signal of ['SIGINT', 'SIGTERM']) {
  // Redis comes last: the outcomes of requests that still run are stored there.
  process.on(signal, () => app.close().then(() => redis.disconnect()))
}
