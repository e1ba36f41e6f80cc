import { DelayedError, Queue, QueueEvents, UnrecoverableError, Worker } from 'bullmq'
import Fastify from 'fastify'
import idempotency, { IdempotencyError } from 'fastify-idempotency'
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
await app.register(idempotency, { redis, scope: 'global' }) // No route is protected: run() has a scope of its own.

let parcels = 0

async function consume (job, token) {
  const { id, order } = job.data
  try {
    // The key is the message's own id: the queue gives a message that is sent twice two ids.
    return await app.idempotency.run({ scope: 'shipments', key: id, fingerprint: order }, async ({ attempt }) => {
      if (attempt > 1) app.log.warn('An earlier attempt may have shipped this order: look before you ship it again')
      parcels += 1 // Here your service ships the order.
      return { parcel: parcels, order }
    })
  } catch (error) {
    if (!(error instanceof IdempotencyError)) throw error // The work failed: BullMQ's own "attempts" and "backoff".
    if (error.code === 'FST_IDEMPOTENCY_NOT_REPLAYABLE') return null // It is done, but its value was not kept.
    if (!error.retryable) throw new UnrecoverableError(error.message) // For example, another message has this key.
    await job.moveToDelayed(Date.now() + 5_000, token) // Another consumer is at it, or Redis is away: later.
    throw new DelayedError()
  }
}

const connection = { url: redisUrl }
const queue = new Queue('shipments', { connection })
const events = new QueueEvents('shipments', { connection })
const worker = new Worker('shipments', consume, { connection, autorun: false })
for (const part of [redis, queue, events, worker]) part.on('error', (err) => app.log.error(err))

const text = { type: 'string', minLength: 1 }
const schema = { body: { type: 'object', required: ['id', 'order'], properties: { id: text, order: text } } }

// This sends a message. It waits for the consumer only to show what comes of the message; a real sender does not.
app.post('/shipments', { schema }, async (request) => {
  const job = await queue.add('ship', request.body, { attempts: 5, backoff: 1_000 })
  return { job: job.id, result: await job.waitUntilFinished(events, 10_000) }
})

await app.listen({ port: Number(port) }) // It rejects if the plugin cannot use this Redis, before a message is taken.
worker.run().catch((err) => app.log.error(err))

async function stop () {
  setTimeout(() => process.exit(1), 30_000).unref() // While Redis is away, the worker does not close.
  await worker.close() // It takes no further message, and finishes those that it has.
  await app.close()
  await Promise.all([events.close(), queue.close()])
  redis.disconnect()
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop)
