import Fastify from 'fastify'
import idempotency from 'fastify-idempotency'
import { Redis } from 'ioredis'

const port = process.env.PORT || '3000'
const redisUrl = process.env.REDIS_URL || 'redis://localhost:6379'
const problems = []
if (!/^\d{1,5}$/.test(port)) problems.push('PORT must be a number, such as 3000')
if (!/^rediss?:\/\//.test(redisUrl) || !URL.canParse(redisUrl)) {
  problems.push('REDIS_URL must be a URL, such as redis://localhost:6379')
}
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}

const app = Fastify({ logger: true })
const redis = new Redis(redisUrl)
// ioredis connects again by itself. Until then the plugin answers 503.
redis.on('error', (err) => app.log.error({ err }, 'Redis cannot be reached'))

const customers = new Map([['alice-token', 'alice'], ['bob-token', 'bob']])
app.decorateRequest('customer', '')
app.addHook('onRequest', async (request) => {
  request.customer = customers.get(request.headers.authorization?.replace('Bearer ', ''))
  if (request.customer === undefined) throw Object.assign(new Error('The token is not known'), { statusCode: 401 })
})

// A key is only looked up among the keys of the same customer. Register the plugin before you declare routes.
await app.register(idempotency, { redis, scope: (request) => request.customer })

const amount = { type: 'integer', minimum: 1 }
const schema = { body: { type: 'object', required: ['amount'], properties: { amount } } }
let payments = 0

app.post('/payments', { schema, config: { idempotency: true } }, async (request, reply) => {
  payments += 1 // Here your service makes the payment.
  reply.code(201)
  return { payment: payments, customer: request.customer, amount: request.body.amount }
})

await app.listen({ port: Number(port) })

for (const signal of ['SIGINT', 'SIGTERM']) {
  // Redis comes last: the outcomes of requests that still run are stored there.
  process.on(signal, () => app.close().then(() => redis.disconnect()))
}
