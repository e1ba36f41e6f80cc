import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import pg from 'pg'
import type { IdempotencyOptions } from '../../plugin/index.ts'
import { built, builtJournal, knowsOption } from './built.ts'
import { handlerOf, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'

const { default: idempotency, MemoryStore } = built

/**
 * Every replay asks Redis. The type is wide, and an older build gets no option, so that this file works with builds
 * from before the option `replayCache` too.
 */
export const WITHOUT_REPLAY_CACHE: object = knowsOption('replayCache') ? { replayCache: false } : {}

async function protectedApp (
  options: IdempotencyOptions,
  work: Work,
  config: { idempotency?: boolean }
): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(idempotency, options)
  app.post('/pay', { ...routeOptions(work), config }, handlerOf(work))
  return app
}

/** An unprotected route in an app with the plugin. */
export function idleApp (redis: Redis, work: Work): Promise<FastifyInstance> {
  return protectedApp({ redis, scope: 'global' }, work, {})
}

export function pluginApp (
  redis: Redis,
  work: Work,
  options: Partial<IdempotencyOptions> = {}
): Promise<FastifyInstance> {
  // The handler that holds the key of the conflicts runs for as long as the benchmark.
  return protectedApp({ redis, scope: 'global', maxExecution: 3_600_000, ...options }, work, { idempotency: true })
}

/**
 * The plugin completes by its script, although the server has a native compare-and-set. While the plugin starts and
 * looks for it, this changes the name of the option that it looks for.
 */
export async function pluginByScriptApp (redis: Redis, work: Work): Promise<FastifyInstance> {
  const { sendCommand } = redis
  redis.sendCommand = (command, stream) => {
    if (command.name === 'eval') command.args[0] = String(command.args[0]).replace('IFEQ', 'UNKNOWN')
    return sendCommand.call(redis, command, stream)
  }
  const app = await pluginApp(redis, work)
  await app.ready()
  // From here on the client has its own method again.
  Reflect.deleteProperty(redis, 'sendCommand')
  return app
}

export function memoryApp (work: Work): Promise<FastifyInstance> {
  return protectedApp({ store: new MemoryStore({ maxSize: 2 ** 31 }), scope: 'global' }, work, { idempotency: true })
}

/** The handler writes a row in a transaction; with `journal`, its answer too. */
export async function transactionApp (
  redis: Redis,
  databaseUrl: string,
  work: Work,
  journalled: boolean
): Promise<FastifyInstance> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 10 })
  const journal = builtJournal.postgresJournal(pool)
  await journal.createTable()
  await pool.query('CREATE TABLE IF NOT EXISTS effects (at timestamptz NOT NULL DEFAULT now())')
  const app = Fastify()
  await app.register(idempotency, { redis, scope: 'global', ...(journalled && { journal }) })
  const answer = handlerOf(work)
  app.post('/pay', { ...routeOptions(work), config: { idempotency: true } }, async (request) => {
    const client = await pool.connect()
    try {
      await client.query('BEGIN')
      await client.query('INSERT INTO effects DEFAULT VALUES')
      const body = await answer(request)
      if (journalled) await request.idempotency?.complete(client, { body })
      await client.query('COMMIT')
      return body
    } finally {
      client.release()
    }
  })
  app.addHook('onClose', () => pool.end())
  return app
}
