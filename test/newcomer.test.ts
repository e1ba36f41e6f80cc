import fp from 'fastify-plugin'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import idempotency, { MemoryStore } from '../plugin/index.ts'
import type { IdempotencyOptions } from '../plugin/index.ts'
import { build, connectRedis } from './helper.ts'
import { REDIS_6, unpacked } from './servers/debian.ts'
import { ownRedis } from './store/own-redis.ts'

/*
 * The mistakes of somebody who uses the package for the first time, and the whole sentence that says what to do.
 */

const OLD = unpacked(REDIS_6)

async function mistake (t: Test, make: (app: FastifyInstance) => unknown): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await make(app)
  const error = await app.ready().then(() => new Error('ready'), (error: Error) => error)
  return error.message
}

const inMemory = (): IdempotencyOptions => ({ store: new MemoryStore(), scope: 'global' })
const pay = (app: FastifyInstance): unknown => app.post('/pay', { config: { idempotency: true } }, async () => 'paid')

t.test('forgot fastify-plugin around a plugin of their own', async (t) => {
  const own = async (app: FastifyInstance): Promise<void> => { await app.register(idempotency, inMemory()) }
  t.equal(
    await mistake(t, async (app) => {
      await app.register(own)
      pay(app)
    }),
    'fastify-idempotency: the route POST /pay is to be protected, and would run unprotected: ' +
      'it is declared outside of the context that the plugin was registered in. ' +
      'Wrap your own plugin that registers it by fastify-plugin, so that it counts for the app, ' +
      'or register it in the app itself'
  )
  t.equal(await mistake(t, async (app) => { await app.register(fp(own)); pay(app) }), 'ready', 'and that is the remedy')
})

t.test('registered it too late', async (t) => {
  t.equal(
    await mistake(t, async (app) => {
      pay(app)
      await app.register(idempotency, inMemory())
    }),
    'fastify-idempotency: the route POST /pay is to be protected, and would run unprotected: ' +
      'it is declared before the plugin was loaded. Register the plugin before the routes: ' +
      '"await app.register(idempotency, …)" first, or declare them in a plugin that is registered later'
  )
  t.equal(
    await mistake(t, async (app) => {
      await app.register(idempotency, inMemory())
      pay(app)
    }),
    'ready',
    'and that is the remedy'
  )
})

t.test('has a Redis 6', { skip: OLD === null ? 'its packages cannot be had here' : false }, async (t) => {
  const server = await ownRedis(t, { binary: OLD as string })
  const redis = connectRedis(t, { url: server.url })
  t.equal(
    await mistake(t, async (app) => {
      await app.register(idempotency, { redis, scope: 'global' })
      pay(app)
    }),
    'fastify-idempotency: Redis cannot be used: version 7.0 or later is needed, and this one is 6.0.16. ' +
      'Upgrade it, or use Valkey'
  )
})

t.test('has a wrong password', async (t) => {
  const server = await ownRedis(t)
  await server.admin.config('SET', 'requirepass', 'right')
  const connect = (password: string): Redis => {
    const redis = new Redis(server.port, { password })
    redis.on('error', () => {})
    t.teardown(() => redis.disconnect())
    return redis
  }
  t.equal(
    await mistake(t, async (app) => {
      await app.register(idempotency, { redis: connect('wrong'), scope: 'global' })
      pay(app)
    }),
    'fastify-idempotency: Redis cannot be used: it refuses the password. ' +
      'Give the client of the option "redis" the username and the password that Redis knows'
  )
  t.equal(
    await mistake(t, async (app) => {
      await app.register(idempotency, { redis: connect('right'), scope: 'global' })
      pay(app)
    }),
    'ready',
    'and that is the remedy'
  )
})

// The user is known only when a request comes: at start there is no request that the function could be called with.
for (const [what, scope, told, log] of [
  ['user?.id', (request: FastifyRequest) => (request as { user?: { id: string } }).user?.id as string,
    'The idempotency option "scope" of POST /pay must return a string or a number that names the caller, ' +
      'got undefined: identify the caller in a hook that runs before it, such as onRequest, ' +
      'and refuse who is unknown there',
    'must return a string or a number that names the caller, got undefined'],
  ['user.id', (request: FastifyRequest) => (request as unknown as { user: { id: string } }).user.id,
    'The idempotency option "scope" of POST /pay failed: the log of this service',
    "Cannot read properties of undefined (reading 'id')"]
] as const) {
  t.test(`has the scope of a user that is not there: ${what}, at the first request`, async (t) => {
    const { app, logged, listen } = await build(t, { store: new MemoryStore(), scope })
    let runs = 0
    app.post('/pay', { config: { idempotency: true } }, async () => ++runs)
    const answer = await (await listen()).post('/pay', 'k')
    t.equal(answer.status, 500)
    t.match(answer.json.detail, told)
    t.match(
      logged.filter(({ level }) => level === 50),
      [{ msg: 'idempotency: the option "scope" of POST /pay failed, the request is refused', err: { message: log } }]
    )
    t.equal(runs, 0)
  })
}
