import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Redis } from 'ioredis'
import { handlerOf, KEY_HEADER, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'

/** A day, in seconds. */
const RETENTION = 86_400

/**
 * What teams write by hand for Fastify: a `GET` before the handler, and a `SET` when the answer is sent. Nothing marks
 * a key as taken between the two. `answers.ts` shows what follows from it.
 */
export async function byHandApp (redis: Redis, work: Work): Promise<FastifyInstance> {
  const app = Fastify()
  app.decorateRequest('replayed', false)
  app.addHook('preHandler', async (request, reply) => {
    const found = await redis.get(nameOf(request))
    if (found === null) return
    const { statusCode, body } = JSON.parse(found) as { statusCode: number, body: string }
    request.setDecorator('replayed', true)
    return reply.code(statusCode).header('content-type', 'application/json; charset=utf-8').send(body)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (!request.getDecorator<boolean>('replayed')) {
      const record = JSON.stringify({ statusCode: reply.statusCode, body: payload })
      await redis.set(nameOf(request), record, 'EX', RETENTION)
    }
    return payload
  })
  app.post('/pay', routeOptions(work), handlerOf(work))
  return app
}

function nameOf (request: FastifyRequest): string {
  return `idempotency:${String(request.headers[KEY_HEADER])}`
}
