import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import { until } from '../helper.ts'
import { inEachPosition } from './helper.ts'
import type { Arranged } from './helper.ts'

/** The servers whose health check fails. */
const sick = new WeakSet<object>()

const arrangement = {
  other: (app: FastifyInstance) => app.register(underPressure, {
    healthCheck: async app => !sick.has(app.server),
    healthCheckInterval: 5,
    retryAfter: 7
  }),
  routes (app: FastifyInstance, run: () => number) {
    app.get('/probe', async () => 'up')
    app.post('/pay', { config: { idempotency: true } }, async () => `run ${run()}`)
  }
}

async function fallIll ({ app, client }: Arranged): Promise<void> {
  sick.add(app.server)
  await until(async () => (await client.get('/probe')).status === 503, 'the pressure')
}

async function recover ({ app, client }: Arranged): Promise<void> {
  sick.delete(app.server)
  await until(async () => (await client.get('/probe')).status === 200, 'the end of the pressure')
}

inEachPosition('a request that is refused under pressure claims nothing and runs nothing, ' +
  'and its retry runs', arrangement, async (t, arranged) => {
  const { client, idempotency, runs } = arranged
  await fallIll(arranged)
  const refused = await client.post('/pay', 'k')
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '7')
  t.equal(await idempotency.find('k', 'global'), null)
  t.equal(runs(), 0)
  await recover(arranged)
  const retry = await client.post('/pay', 'k')
  t.equal(retry.text, 'run 1')
  t.equal(retry.replayed, false)
})

inEachPosition('a replay is refused under pressure too, and is back afterwards', arrangement, async (t, arranged) => {
  const { client, runs } = arranged
  await client.post('/pay', 'k')
  await fallIll(arranged)
  const refused = await client.post('/pay', 'k')
  t.equal(refused.status, 503)
  t.equal(refused.json.code, 'FST_UNDER_PRESSURE')
  await recover(arranged)
  const replay = await client.post('/pay', 'k')
  t.equal(replay.text, 'run 1')
  t.equal(replay.replayed, true)
  t.equal(runs(), 1)
})
