import t from 'tap'
import type { Test } from 'tap'
import { connectRedis, gate, holdRoute, lookAfterLeasesOften, until } from '../helper.ts'
import { ownRedis } from '../store/own-redis.ts'
import type { OwnRedis } from '../store/own-redis.ts'
import { buildMeasured, counted } from './helper.ts'
import type { Measured } from './helper.ts'

/** A measured app on a Redis that the test may stop. */
async function buildOnOwnRedis (
  t: Test,
  options: Parameters<typeof buildMeasured>[1] = {}
): Promise<Measured & { server: OwnRedis }> {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  await until(() => redis.status === 'ready')
  return { server, ...await buildMeasured(t, { redis, ...options }, { gauges: true }) }
}

t.test('a claim that the store did not take is counted, and its request is counted as nothing else', async (t) => {
  const { app, server, listen, scrape } = await buildOnOwnRedis(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await server.stop()
  t.equal((await client.post('/x', 'k')).status, 503)
  t.equal((await client.post('/x', 'k')).status, 503)
  const series = await scrape()
  t.same(counted(series, 'idempotency_store_failures_total'), {
    'idempotency_store_failures_total{route="POST /x",operation="claim"}': 2
  })
  t.same(counted(series, 'idempotency_requests_total'), {})
})

t.test('a completion that the store did not take is counted, pending during retries, and then completed', async (t) => {
  const { app, server, listen, scrape } = await buildOnOwnRedis(t)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  t.match(await scrape(), { idempotency_runs_running: 1, idempotency_writes_pending: 0 })
  await server.stop()
  route.finish()
  t.equal((await owner).text, 'done')
  const meanwhile = await scrape()
  t.match(meanwhile, { idempotency_runs_running: 1, idempotency_writes_pending: 1 })
  t.same(counted(meanwhile, 'idempotency_store_failures_total'), {
    'idempotency_store_failures_total{route="POST /x",operation="complete"}': 1
  })
  t.same(counted(meanwhile, 'idempotency_run_duration_seconds_count'), {})
  await server.start()
  await until(async () => (await scrape()).idempotency_writes_pending === 0, 'the completion')
  t.same(counted(await scrape(), 'idempotency_run_duration_seconds_count'), {
    'idempotency_run_duration_seconds_count{route="POST /x",outcome="completed"}': 1
  })
})

t.test('a release and renewals that the store did not take are counted as such', async (t) => {
  const { app, server, listen, passTime, scrape } = await buildOnOwnRedis(t, { lease: 60_000 })
  lookAfterLeasesOften(app)
  const finish = gate()
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => {
    runs++
    await finish.opened
    throw new Error('failed')
  })
  const client = await listen()
  const owner = client.post('/x', 'k')
  await until(() => runs === 1)
  await server.stop()
  await passTime(20_000)
  const renewals = 'idempotency_store_failures_total{route="POST /x",operation="renew"}'
  await until(async () => (await scrape())[renewals] ?? 0, 'a renewal that fails')
  finish.open()
  t.equal((await owner).status, 500)
  t.equal((await scrape())['idempotency_store_failures_total{route="POST /x",operation="release"}'], 1)
})
