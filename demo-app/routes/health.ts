import { setTimeout as delay } from 'node:timers/promises'
import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Redis } from 'ioredis'

/** Milliseconds to wait for the database, or for a free connection to it, before it counts as down. */
const TIMEOUT = 2_000

const Part = Type.Object({ kind: Type.String(), up: Type.Boolean() })
const Health = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down')]),
  database: Part,
  idempotency: Part
})

export interface HealthOptions {
  redis: Redis | null
  embedded: boolean
}

export const healthRoute: FastifyPluginAsyncTypebox<HealthOptions> = async (app, { redis, embedded }) => {
  app.get('/health', {
    config: { public: true },
    schema: { response: { 200: Health, 503: Health } }
  }, async (request, reply) => {
    const asked = app.pg.query('SELECT 1').then(() => true, (error: unknown) => {
      request.log.error({ err: error }, 'the database does not answer')
      return false
    })
    const databaseUp = await Promise.race([asked, delay(TIMEOUT, false, { ref: false })])
    const redisUp = redis === null || redis.status === 'ready'
    return reply.code(databaseUp ? 200 : 503).send({
      // Without Redis, orders can still be read, and the plugin refuses writes until Redis is back.
      status: !databaseUp ? 'down' : redisUp ? 'ok' : 'degraded',
      database: { kind: embedded ? 'embedded' : 'postgres', up: databaseUp },
      idempotency: { kind: redis === null ? 'memory' : 'redis', up: redisUp }
    })
  })
}
