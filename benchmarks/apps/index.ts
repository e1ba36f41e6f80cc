import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { byHandApp } from './by-hand.ts'
import { expressIdempotencyApp } from './express-idempotency.ts'
import { floorApp } from './floor.ts'
import { nodeIdempotencyApp } from './node-idempotency.ts'
import { bareApp } from './plain.ts'
import { idleApp, memoryApp, pluginApp, pluginByScriptApp, transactionApp, WITHOUT_REPLAY_CACHE } from './plugin.ts'
import { powertoolsApp } from './powertools.ts'
import type { Work } from './shared.ts'

export interface Servers {
  redisUrl: string
  databaseUrl: string
}

/** `redis` is a client of ioredis with its default settings. */
type Make = (redis: Redis, work: Work, servers: Servers) => Promise<FastifyInstance>

const FASTIFY_APPS = {
  bare: (_redis, work) => bareApp(work),
  idle: (redis, work) => idleApp(redis, work),
  floor: (redis, work) => floorApp(redis, work),
  'floor by script': (redis, work) => floorApp(redis, work, { byScript: true }),
  plugin: (redis, work) => pluginApp(redis, work),
  'plugin without cache': (redis, work) => pluginApp(redis, work, WITHOUT_REPLAY_CACHE),
  'plugin that rejects': (redis, work) => pluginApp(redis, work, { onConflict: 'reject' }),
  'plugin by script': (redis, work) => pluginByScriptApp(redis, work),
  'plugin wait': (redis, work) => pluginApp(redis, work, { onConflict: 'wait', waitTimeout: 60_000 }),
  'plugin for teams': (redis, work) =>
    pluginApp(redis, work, { lease: 1_000, scope: request => request.headers.authorization ?? 'nobody' }),
  memory: (_redis, work) => memoryApp(work),
  transaction: (redis, work, { databaseUrl }) => transactionApp(redis, databaseUrl, work, false),
  journal: (redis, work, { databaseUrl }) => transactionApp(redis, databaseUrl, work, true),
  'by hand': (redis, work) => byHandApp(redis, work),
  'node-idempotency': (_redis, work, { redisUrl }) => nodeIdempotencyApp(redisUrl, work),
  powertools: (_redis, work, { redisUrl }) => powertoolsApp(redisUrl, work),
  'powertools with cache': (_redis, work, { redisUrl }) => powertoolsApp(redisUrl, work, { useLocalCache: true })
} satisfies Record<string, Make>

export type AppName = keyof typeof FASTIFY_APPS | 'express-idempotency'

/** Packages that the goals compare the plugin with. What teams write by hand is shown, but is not one of them. */
export const PEERS = ['node-idempotency', 'powertools', 'express-idempotency'] as const satisfies AppName[]

/** The apps that use Postgres. */
export const USES_DATABASE: ReadonlySet<AppName> = new Set<AppName>(['transaction', 'journal'])

/** Starts an app in this process. Resolves to where it listens. */
export async function listen (
  name: AppName,
  work: Work,
  servers: Servers
): Promise<{ url: string, close (): Promise<unknown> }> {
  if (name === 'express-idempotency') {
    const app = await expressIdempotencyApp(servers.redisUrl, work)
    return { url: await app.listen(), close: () => app.close() }
  }
  const redis = new Redis(servers.redisUrl)
  const app = await FASTIFY_APPS[name](redis, work, servers)
  return {
    url: await app.listen({ host: '127.0.0.1', port: 0 }),
    async close () {
      await app.close()
      redis.disconnect()
    }
  }
}
