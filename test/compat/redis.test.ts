import fastifyRedis from '@fastify/redis'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import idempotency from '../../plugin/index.ts'
import { clientOf, connectRedis, gate, newPrefix, REDIS_URL, until } from '../helper.ts'
import { replayed } from './helper.ts'

/** Each way in which @fastify/redis provides a client, and the client itself. */
const WAYS: Record<
  string,
  { register: (app: FastifyInstance, t: Test) => PromiseLike<unknown>, client: (app: FastifyInstance) => Redis }
> = {
  'made by the plugin': {
    register: app => app.register(fastifyRedis, { url: REDIS_URL, enableAutoPipelining: true }),
    client: app => app.redis
  },
  'made by the plugin under a namespace': {
    register: app => app.register(fastifyRedis, { url: REDIS_URL, namespace: 'keys' }),
    client: app => app.redis.keys as unknown as Redis
  },
  'given to the plugin, which closes it': {
    register: app => app.register(fastifyRedis, { client: new Redis(REDIS_URL), closeClient: true }),
    client: app => app.redis
  },
  'given to the plugin, which leaves it open': {
    register: (app, t) => app.register(fastifyRedis, { client: connectRedis(t) }),
    client: app => app.redis
  }
}

for (const [way, { register, client: clientIn }] of Object.entries(WAYS)) {
  for (const position of ['in the root', 'in a child context', 'in the root, the plugin in a child context']) {
    t.test(`fastify.redis is handed over as it is: a client ${way}, ${position}`, async (t) => {
      const keyPrefix = newPrefix()
      connectRedis(t, { prefix: keyPrefix })
      const app: FastifyInstance = Fastify({ forceCloseConnections: true })
      t.teardown(() => app.close())
      const finish = gate()
      let runs = 0
      const protect = async (context: FastifyInstance): Promise<void> => {
        await context.register(idempotency, {
          redis: clientIn(context),
          keyPrefix,
          scope: 'global',
          onConflict: 'wait',
          storeTimeout: 60_000
        })
        context.post('/x', { config: { idempotency: true } }, async () => ({ run: ++runs }))
        context.post('/slow', { config: { idempotency: true } }, async () => {
          runs++
          await finish.opened
          return 'done'
        })
      }
      if (position !== 'in a child context') await register(app, t)
      if (position === 'in the root') await protect(app)
      else {
        await app.register(async (context) => {
          if (position === 'in a child context') await register(context, t)
          await protect(context)
        })
      }
      const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))

      await replayed(t, client, '/x', 'k')
      const owner = client.post('/slow', 'slow')
      await until(() => runs === 2, 'the slow run')
      const waiter = client.post('/slow', 'slow')
      finish.open()
      t.same([(await owner).text, (await waiter).text], ['done', 'done'])
      t.equal(runs, 2)
    })
  }
}

t.test('an app that closes stores the outcome of a request that is still running, ' +
  'before @fastify/redis closes the client', async (t) => {
  const keyPrefix = newPrefix()
  const observer = connectRedis(t, { prefix: keyPrefix })
  const app = Fastify({ keepAliveTimeout: 1 })
  t.teardown(() => app.close())
  await app.register(fastifyRedis, { url: REDIS_URL })
  await app.register(idempotency, { redis: app.redis, keyPrefix, scope: 'global', storeTimeout: 60_000 })
  const finish = gate()
  let running = false
  app.post('/x', { config: { idempotency: true } }, async () => {
    running = true
    await finish.opened
    return 'done'
  })
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  const answer = client.post('/x', 'k')
  await until(() => running, 'the run')
  const closed = app.close()
  await until(() => !app.server.listening, 'the end of listening')
  finish.open()
  t.equal((await answer).text, 'done')
  await closed
  await until(() => app.redis.status === 'end', 'the end of its client')

  const later = Fastify({ forceCloseConnections: true })
  t.teardown(() => later.close())
  await later.register(idempotency, { redis: observer, keyPrefix, scope: 'global', storeTimeout: 60_000 })
  later.post('/x', { config: { idempotency: true } }, async () => 'ran again')
  const replay = await clientOf(await later.listen({ port: 0, host: '127.0.0.1' })).post('/x', 'k')
  t.equal(replay.text, 'done')
  t.equal(replay.replayed, true)
})
