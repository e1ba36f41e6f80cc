import { Idempotency } from '@node-idempotency/core'
import type { IdempotencyParams } from '@node-idempotency/core'
import { RedisStorageAdapter } from '@node-idempotency/storage-adapter-redis'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { handlerOf, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'

const STATUS: Record<string, number> = { REQUEST_IN_PROGRESS: 409, IDEMPOTENCY_FINGERPRINT_MISSMATCH: 422 }

/** `@node-idempotency/core` on Fastify hooks, wired as in its own Fastify plugin, which is not published on npm. */
export async function nodeIdempotencyApp (redisUrl: string, work: Work): Promise<FastifyInstance> {
  const storage = new RedisStorageAdapter({ url: redisUrl })
  await storage.connect()
  const idempotency = new Idempotency(storage, { enforceIdempotency: true })
  const app = Fastify()
  app.decorateRequest('replayed', false)
  app.addHook('preHandler', async (request, reply) => {
    let found
    try {
      found = await idempotency.onRequest<string, unknown>(paramsOf(request))
    } catch (error) {
      return reply
        .code(STATUS[(error as { code: string }).code] ?? 500)
        .send({ code: (error as { code: string }).code })
    }
    if (found === undefined) return
    request.setDecorator('replayed', true)
    return reply
      .code(Number(found.additional?.statusCode))
      .header('content-type', 'application/json; charset=utf-8')
      .send(found.body)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (request.getDecorator<boolean>('replayed') || reply.statusCode === 409 || reply.statusCode === 422) {
      return payload
    }
    await idempotency.onResponse(paramsOf(request), { body: payload, additional: { statusCode: reply.statusCode } })
    return payload
  })
  app.addHook('onClose', () => storage.disconnect())
  app.post('/pay', routeOptions(work), handlerOf(work))
  return app
}

function paramsOf (request: FastifyRequest): IdempotencyParams {
  return {
    headers: request.headers,
    path: request.url,
    method: request.method,
    body: request.body as Record<string, unknown>
  }
}
