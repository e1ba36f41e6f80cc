import { channel } from 'node:diagnostics_channel'
import { Counter, openMetricsContentType, register as globalRegister, Registry } from 'prom-client'
import type { OpenMetricsContentType } from 'prom-client'
import t from 'tap'
import { channels } from '../../plugin/observe/channels.ts'
import { idempotencyMetrics } from '../../plugin/observe/metrics/index.ts'
import { build } from '../helper.ts'
import { buildMeasured, counted, seriesOf } from './helper.ts'

/** The events that have a listener. */
function heard (): string[] {
  return Object.keys(channels).filter(name => channel(`fastify-idempotency:${name}`).hasSubscribers)
}

t.test('every event is listened to until stop, which leaves nothing in the registry', async (t) => {
  const { app, listen, scrape, stop, register } = await buildMeasured(t, {}, { gauges: true })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.same(heard(), Object.keys(channels))
  await client.post('/x', 'k')
  t.ok(Object.keys(await scrape()).length > 0)
  stop()
  t.same(heard(), [])
  t.same(register.getMetricsAsArray(), [])
  t.ok((await client.post('/x', 'k')).replayed)
  t.same(await scrape(), {})
})

t.test('after stop it can be called anew on the same registry, and counts from zero, ' +
  'undisturbed by a second stop', async (t) => {
  const { app, listen, scrape, stop, register } = await buildMeasured(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k')
  stop()
  t.teardown(idempotencyMetrics({ register }))
  stop()
  await client.post('/x', 'k')
  t.same(counted(await scrape(), 'idempotency_requests_total'), {
    'idempotency_requests_total{route="POST /x",result="replayed"}': 1
  })
})

t.test('called twice on one registry it says so, and counts on as before', async (t) => {
  const { app, listen, scrape, register } = await buildMeasured(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.throws(() => idempotencyMetrics({ register }), {
    code: 'FST_IDEMPOTENCY_OPTION_INVALID',
    message: 'fastify-idempotency/metrics: the registry has a metric "idempotency_requests_total" already: ' +
      'call idempotencyMetrics once a registry, or stop the one before, or set another prefix'
  })
  await client.post('/x', 'k')
  t.same(counted(await scrape(), 'idempotency_requests_total'), {
    'idempotency_requests_total{route="POST /x",result="claimed"}': 1
  })
})

t.test('where one name is taken none is registered', async (t) => {
  const register = new Registry()
  const taken = new Counter({ name: 'idempotency_leases_lost_total', help: 'of the app', registers: [register] })
  t.throws(() => idempotencyMetrics({ register }), /idempotency_leases_lost_total/)
  t.same(register.getMetricsAsArray(), [taken])
  t.same(heard(), [])
})

t.test('without options the metrics are in the global registry', async (t) => {
  const stop = idempotencyMetrics()
  t.teardown(stop)
  const { app, listen } = await build(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  await (await listen()).post('/x', 'k')
  t.equal(seriesOf(await globalRegister.metrics())['idempotency_requests_total{route="POST /x",result="claimed"}'], 1)
  stop()
  t.same(globalRegister.getMetricsAsArray(), [])
})

t.test('every name starts with the prefix, so that two can share a registry', async (t) => {
  const { app, listen, scrape, register } = await buildMeasured(t, {}, { prefix: 'shop_', gauges: true })
  t.teardown(idempotencyMetrics({ register }))
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  await (await listen()).post('/x', 'k')
  const series = await scrape()
  t.equal(series['shop_idempotency_requests_total{route="POST /x",result="claimed"}'], 1)
  t.equal(series['idempotency_requests_total{route="POST /x",result="claimed"}'], 1)
  t.equal(series.shop_idempotency_runs_running, 0)
  t.equal(series.idempotency_runs_running, undefined, 'gauges only for the app that is given')
})

t.test('a registry that exposes OpenMetrics is served as well', async (t) => {
  const register = new Registry<OpenMetricsContentType>()
  register.setContentType(openMetricsContentType)
  t.teardown(idempotencyMetrics({ register }))
  const { app, listen } = await build(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  await (await listen()).post('/x', 'k')
  const exposition = await register.metrics()
  t.match(exposition, /^idempotency_requests_total\{route="POST \/x",result="claimed"\} 1$/m)
  t.match(exposition, /^# EOF$/m)
})

for (const [options, message] of [
  [{ registry: new Registry() }, 'unknown option "registry"; known are register, prefix, idempotency'],
  [
    { register: {} },
    'option "register" must be a Registry of prom-client; this one has no registerMetric, getSingleMetric, ' +
      'removeSingleMetric, got an object'
  ],
  [{ prefix: 'my shop ' }, 'option "prefix" must be what the name of a metric can start with, got "my shop "'],
  [{ idempotency: null }, 'option "idempotency" must be app.idempotency, got null']
] as const) {
  t.test(`a wrong option is refused: ${message}`, async (t) => {
    t.throws(() => idempotencyMetrics(options as object), {
      code: 'FST_IDEMPOTENCY_OPTION_INVALID',
      message: `fastify-idempotency/metrics: ${message}`
    })
    t.same(heard(), [])
  })
}
