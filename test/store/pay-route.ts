import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'

/**
 * A route whose validation changes the body, so that the versions of records take other fingerprints. Counts its runs.
 */
export function payRoute (app: FastifyInstance, redis: Redis, keyPrefix: string): void {
  const properties = { amount: { type: 'integer' }, currency: { type: 'string', default: 'EUR' } }
  app.post<{ Body: { amount: number } }>('/pay', {
    config: { idempotency: true },
    schema: { body: { type: 'object', additionalProperties: false, properties } }
  }, async (request) => {
    const key = String(request.headers['idempotency-key'])
    const run = await redis.hincrby(`${keyPrefix}runs`, key, 1)
    // The handler takes this long, so that duplicates come while it runs.
    await setTimeout(5)
    return { paid: request.body, for: key, run, attempt: request.idempotency?.attempt }
  })
}
