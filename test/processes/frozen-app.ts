import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import idempotency from '../../plugin/index.ts'

const LEASE = 3_000

/** An app whose handler checks its signal as soon as a timer fires after the process stood still for its lease. */
const app = Fastify()
const redis = new Redis(process.env.REDIS_URL ?? '')
const keyPrefix = process.env.KEY_PREFIX ?? ''
await app.register(idempotency, { redis, scope: 'global', keyPrefix, lease: LEASE, storeTimeout: 60_000 })
app.post('/x', { config: { idempotency: true } }, async (request) => {
  const { signal } = request.idempotency as NonNullable<typeof request.idempotency>
  let awake = performance.now()
  // The process that reads this may stop this one at once.
  process.stdout.write('running\n')
  for (let elapsed = 0; elapsed < LEASE;) {
    // Due before the timer that looks after leases. It runs first when the process continues.
    await sleep(20)
    elapsed = performance.now() - awake
    awake += elapsed
  }
  return `aborted: ${signal.aborted}`
})
process.stdout.write(`${await app.listen({ port: 0, host: '127.0.0.1' })}\n`)
