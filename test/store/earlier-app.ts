import Fastify from 'fastify'
import { Redis } from 'ioredis'
import type idempotency from '../../plugin/index.ts'
import { payRoute } from './pay-route.ts'

/*
 * A process with the plugin of an earlier release, which says to its parent where it listens.
 * Arguments: the file with the plugin, the URL of Redis, the prefix of keys
 */
const [file = '', url = '', keyPrefix = ''] = process.argv.slice(2)
const earlier = await import(file) as { default: typeof idempotency }
const redis = new Redis(url, { enableAutoPipelining: true })
const app = Fastify({ forceCloseConnections: true })
// Times that no slow machine reaches.
await app.register(earlier.default, {
  redis, keyPrefix, scope: 'global', onConflict: 'wait', storeTimeout: 60_000, waitTimeout: 120_000
})
payRoute(app, redis, keyPrefix)
process.send?.(await app.listen({ port: 0, host: '127.0.0.1' }))
