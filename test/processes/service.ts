import cluster from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import idempotency from '../../plugin/index.ts'
import type { IdempotencyOptions } from '../../plugin/index.ts'
import { page } from './page.ts'

/*
 * A service as the page on deploying describes it, in a process of its own. For a charge it calls the tests' provider,
 * which decides how long its handlers take. These variables set it up: PORT, REDIS_URL, PROVIDER_URL, and OPTIONS, the
 * options of the plugin as JSON; PAUSE, the milliseconds between a signal and the end of its port.
 */
const { PORT = '0', REDIS_URL = '', PROVIDER_URL = '', OPTIONS = '{}', PAUSE = '0' } = process.env

const app = Fastify({ logger: true, keepAliveTimeout: 3_600_000 })
const redis = new Redis(REDIS_URL, { enableAutoPipelining: true })
redis.on('error', () => {})

let ready = true

// A time that no slow machine reaches.
const storeTimeout = 60_000
const options = JSON.parse(OPTIONS) as Partial<IdempotencyOptions>
await app.register(idempotency, { redis, scope: 'global', storeTimeout, ...options })

async function charge (key: string): Promise<{ status: number, receipt: object }> {
  const response = await fetch(`${PROVIDER_URL}/charges/${encodeURIComponent(key)}`, { method: 'POST' })
  return { status: response.status, receipt: { ...await response.json() as object, pid: process.pid } }
}

app.addHook('onRequest', async (request, reply) => {
  if (request.method !== 'POST') return
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) app.log.info({ left: request.headers['idempotency-key'] })
  })
})

app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
  const { status, receipt } = await charge(request.idempotency!.key)
  return reply.code(status).send(receipt)
})

app.post<{ Params: { key: string } }>('/unprotected/:key', async request => (await charge(request.params.key)).receipt)

/** Work that continues after its request was answered. */
app.post<{ Params: { key: string } }>('/jobs/:key', async (request, reply) => {
  const { key } = request.params
  app.idempotency.run({ scope: 'jobs', key }, async () => (await charge(key)).receipt)
    .catch((err: unknown) => { app.log.error({ err }, 'the job failed') })
  return reply.code(202).send()
})

app.get<{ Params: { scope: string, key: string } }>('/keys/:scope/:key', async ({ params: { scope, key } }) => {
  const record = await app.idempotency.find(key, scope)
  return record === null ? {} : { ...record, response: record.response?.body.toString() }
})

/** For clients that are to open several connections at once. */
app.get<{ Params: { size: string } }>('/together/:size', async (request) => {
  await fetch(`${PROVIDER_URL}/together/${request.params.size}`)
  return 'together'
})

app.get('/page', async (_request, reply) => reply.type('text/html').send(page))

app.get('/stats', async () => ({ ...app.idempotency.stats(), pid: process.pid }))

app.get('/ready', async (_request, reply) => reply.code(ready ? 200 : 503).send({ ready, pid: process.pid }))

closeWithGrace({ delay: 600_000, logger: app.log }, async ({ signal, err }) => {
  ready = false
  await sleep(Number(PAUSE))
  app.log.info({ signal, err }, 'closing')
  await app.close()
  await redis.quit()
  app.log.info('closed')
})

await app.listen({ port: Number(PORT), host: '127.0.0.1' })
if (cluster.isWorker) process.send?.('ready')
