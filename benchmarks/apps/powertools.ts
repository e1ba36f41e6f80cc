import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency'
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { handlerOf, KEY_HEADER, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'

/** The cache persistence takes a client with these three methods. ioredis has them with other arguments. */
function cacheClientOf (redis: Redis) {
  return {
    get: (name: string) => redis.get(name),
    set: (name: string | Uint8Array, value: unknown, options?: unknown) => {
      const { EX, NX } = (options ?? {}) as { EX?: number, NX?: boolean }
      const args = [...(EX === undefined ? [] : ['EX', EX]), ...(NX === true ? ['NX'] : [])]
      return redis.call('SET', name as string, value as string, ...args) as Promise<string | null>
    },
    del: (names: string[]) => redis.del(...names)
  }
}

const STATUS: Record<string, number> = { IdempotencyAlreadyInProgressError: 409, IdempotencyValidationError: 422 }
/** The milliseconds that a handler has left, as Lambda would report them. The library takes them for a lease. */
const TIME_LEFT = 1_000

/**
 * `@aws-lambda-powertools/idempotency`, which is made for Lambda handlers, around the handler of a route. Its client is
 * ioredis with autopipelining, which takes less CPU here than ioredis without it, and than node-redis, which the
 * library documents.
 */
export async function powertoolsApp (
  redisUrl: string,
  work: Work,
  { useLocalCache = false } = {}
): Promise<FastifyInstance> {
  // The key prefix comes from this variable.
  process.env.AWS_LAMBDA_FUNCTION_NAME ??= 'benchmark'
  const redis = new Redis(redisUrl, { enableAutoPipelining: true })
  const answer = handlerOf(work)
  // `payloadValidationJmesPath` is not set: the cache persistence stores the hash of the payload with the claim and
  // leaves it out of the completed record (2.35), so it refuses every retry, even one with the right body.
  const config = new IdempotencyConfig({
    eventKeyJmesPath: 'key',
    throwOnNoIdempotencyKey: true,
    expiresAfterSeconds: 86_400,
    useLocalCache
  })
  config.registerLambdaContext({ getRemainingTimeInMillis: () => TIME_LEFT })
  const pay = makeIdempotent(
    async ({ headers }: { key: string, headers: Record<string, unknown> }) =>
      await answer({ headers }) as Record<string, unknown>,
    { persistenceStore: new CachePersistenceLayer({ client: cacheClientOf(redis) }), config }
  )
  const app = Fastify()
  app.setErrorHandler((error: Error, _request, reply) =>
    reply.code(STATUS[error.name] ?? 500).send({ code: error.name })
  )
  app.addHook('onClose', () => { redis.disconnect() })
  app.post('/pay', routeOptions(work), async request =>
    pay({ key: String(request.headers[KEY_HEADER]), headers: request.headers })
  )
  return app
}
