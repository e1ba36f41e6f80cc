import type { Redis } from 'ioredis'
import t from 'tap'
import { Proxy } from './chaos/proxy.ts'
import { build, connectRedis, holdRoute, newPrefix, until } from './helper.ts'
import type { TestApp } from './helper.ts'
import { startRedis } from './servers/redis.ts'
import { ownRedis } from './store/own-redis.ts'

const LEASE = 2_000

t.test('a claim that was given up in an outage takes over nothing when it gets through at its end', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const link = await Proxy.listen(() => redis.port)
  t.teardown(() => link.close())
  const keyPrefix = newPrefix()
  const start = (port: number): Promise<TestApp> =>
    build(t, {
      keyPrefix,
      lease: LEASE,
      storeTimeout: 300,
      redis: connectRedis(t, { url: `redis://127.0.0.1:${port}`, retryStrategy: () => 50 })
    })
  const [own, other] = await Promise.all([start(link.port), start(redis.port)])
  const route = holdRoute(own.app)
  let repeated = 0
  other.app.post('/x', { config: { idempotency: true } }, async () => `repeated ${++repeated} times`)
  other.app.post('/y', { config: { idempotency: { scope: () => 'another' } } }, async () => 'done')
  const [owner, duplicate] = await Promise.all([own.listen(), other.listen()])

  const first = owner.post('/x', 'k')
  await route.began()
  // Waits until the other process has heard Redis for long enough to take over a lease that runs out.
  const began = performance.now()
  const isAnswered = async (path: string, status: number): Promise<boolean> =>
    (await duplicate.post(path, 'k')).status === status
  await until(async () => await isAnswered('/y', 200) && performance.now() - began > LEASE, 'Redis is heard')
  redis.freeze()
  const frozen = performance.now()
  const given = duplicate.post('/x', 'k')
  link.cut()
  route.finish()
  t.equal((await first).text, 'done')
  t.equal((await given).status, 503, 'it is given up, and on its way')
  // The lease runs out on Redis's clock, while the other process notices again and again that nobody can be heard.
  const isOver = async (): Promise<boolean> => await isAnswered('/x', 503) && performance.now() - frozen > 1.5 * LEASE
  await until(isOver, 'the end of the lease')
  redis.thaw()
  // Everything that was sent before has been carried out when a later request of the same connection is answered.
  await until(() => isAnswered('/y', 200), 'Redis answers')
  link.heal()
  await until(() => isAnswered('/x', 200), 'the outcome is stored')
  t.equal(repeated, 0)
  t.equal(route.runs(), 1)
})

t.test('a process that started while Redis was away takes nothing over before the others can reconnect', async (t) => {
  const server = await ownRedis(t, { started: false })
  const keyPrefix = newPrefix()
  const connect = (): Redis => connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  const lateRedis = connect()
  const late = await build(t, { keyPrefix, lease: 60_000, onConflict: 'reject', redis: lateRedis })
  late.app.post('/x', { config: { idempotency: true } }, async () => 'repeated')
  const duplicate = await late.listen()
  await until(() => lateRedis.status === 'reconnecting')
  await server.start()
  const redis = connect()
  const own = await build(t, { keyPrefix, lease: 1_000, redis })
  const route = holdRoute(own.app)
  const first = (await own.listen()).post('/x', 'k')
  await route.began()
  // It still has to reconnect.
  redis.disconnect()
  await until(
    async () => ((await late.app.idempotency.find('k', 'global'))?.leaseLeft ?? 1) <= 0,
    'the end of the lease'
  )
  t.equal((await duplicate.post('/x', 'k')).json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
  route.finish()
  t.equal((await first).text, 'done')
})
