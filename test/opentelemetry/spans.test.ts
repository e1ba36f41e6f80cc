import { channel } from 'node:diagnostics_channel'
import { trace } from '@opentelemetry/api'
import { AlwaysOffSampler } from '@opentelemetry/sdk-trace-base'
import t from 'tap'
import { channels } from '../../plugin/observe/channels.ts'
import { idempotencyTracing } from '../../plugin/observe/opentelemetry/index.ts'
import { recordId } from '../../plugin/core/record-id.ts'
import { connectRedis, gate, holdRoute, lookAfterLeasesOften, until } from '../helper.ts'
import { ownRedis } from '../store/own-redis.ts'
import { buildTraced, complaints, eventNames, eventsOf, named } from './helper.ts'

/** The events that have a listener. */
function heard (): string[] {
  return Object.keys(channels).filter(name => channel(`fastify-idempotency:${name}`).hasSubscribers)
}

t.test('a lost lease is an event on the span of its own run, not on that of the timer’s context', async (t) => {
  const { app, listen, passTime, spanOf } = await buildTraced(t, { lease: 3_600_000 })
  lookAfterLeasesOften(app)
  const held = holdRoute(app)
  const finish = gate()
  let isSilent = false
  app.post('/silent', { config: { idempotency: { lease: 60_000, maxExecution: 0 } } }, async () => {
    isSilent = true
    await finish.opened
    return 'done'
  })
  const client = await listen()
  const first = client.post('/x', 'a', undefined, named('first'))
  await held.began()
  const silent = client.post('/silent', 'b', undefined, named('silent'))
  await until(() => isSilent, 'the run')
  await passTime(60_000)
  await until(() => app.idempotency.stats().leasesLost === 1, 'the loss')
  finish.open()
  held.finish()
  await Promise.all([first, silent])
  const lost = await spanOf('silent')
  t.same(eventNames(lost), ['idempotency.claimed', 'idempotency.lease_lost', 'idempotency.completed'])
  t.equal(eventsOf(lost)[1]?.attributes['idempotency.key_hash'], recordId('global', 'b'))
  t.same(eventNames(await spanOf('first')), ['idempotency.claimed', 'idempotency.completed'])
})

t.test('a run that the timer ends, since its answer bypassed Fastify, is not recorded on another span', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t)
  lookAfterLeasesOften(app)
  const held = holdRoute(app)
  app.post('/raw', { config: { idempotency: true } }, (_request, reply) => { reply.raw.end('raw') })
  const client = await listen()
  const owner = client.post('/x', 'a', undefined, named('held'))
  await held.began()
  t.equal((await client.post('/raw', 'b', undefined, named('raw'))).text, 'raw')
  await until(() => app.idempotency.stats().completed === 1, 'the completion')
  held.finish()
  await owner
  t.same(eventNames(await spanOf('held')), ['idempotency.claimed', 'idempotency.completed'])
  t.same(eventNames(await spanOf('raw')), ['idempotency.claimed'])
  t.same(complaints, [], 'nor on one that has ended, which the SDK would complain of')
})

t.test('what the store did not take is told by operation and kind of error, never by its message', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  await until(() => redis.status === 'ready')
  const { app, listen, passTime, spanOf } = await buildTraced(t, { redis, lease: 60_000 })
  lookAfterLeasesOften(app)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k', undefined, named('owner'))
  await route.began()
  await server.stop()
  t.equal((await client.post('/x', 'another', undefined, named('refused'))).status, 503)
  const failures = app.idempotency.stats().storeErrors
  await passTime(20_000)
  await until(() => app.idempotency.stats().storeErrors > failures, 'a renewal that fails')
  route.finish()
  t.equal((await owner).text, 'done')

  const operations = (await spanOf('owner')).events.map(({ attributes }) => attributes?.['idempotency.operation'])
  t.equal(operations[0], undefined, 'claimed')
  t.equal(operations[1], 'renew')
  t.equal(operations.at(-1), 'complete')
  const refused = await spanOf('refused')
  const [event, ...others] = eventsOf(refused)
  t.match(event, {
    name: 'idempotency.store_failed',
    attributes: { 'idempotency.operation': 'claim', 'error.type': /^\w*Error$/, 'idempotency.duration_ms': Number }
  })
  t.same(Object.keys(event?.attributes ?? {}).sort(), [
    'error.type', 'idempotency.duration_ms', 'idempotency.key_hash', 'idempotency.operation'
  ])
  t.same(others, [])
  t.same(refused.attributes, { 'idempotency.key_hash': recordId('global', 'another') })

  await server.start()
  await until(() => app.idempotency.stats().pending === 0, 'the completion')
  t.same(complaints, [], 'which comes when the span has ended, and is not told')
})

t.test('work by app.idempotency.run in a handler is told by events; the attributes stay the request’s', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t)
  app.post('/x', { config: { idempotency: true } }, async () => {
    for (let i = 0; i < 2; i++) await app.idempotency.run({ scope: 'mails', key: 'm' }, async () => 'sent')
    return 'done'
  })
  await (await listen()).post('/x', 'k', undefined, named('request'))
  const span = await spanOf('request')
  const [request, mail] = [recordId('global', 'k'), recordId('mails', 'm')]
  t.same(eventsOf(span).map(({ name, attributes }) => [name, attributes['idempotency.key_hash']]), [
    ['idempotency.claimed', request],
    ['idempotency.claimed', mail],
    ['idempotency.completed', mail],
    ['idempotency.replayed', mail],
    ['idempotency.completed', request]
  ])
  t.same(span.attributes, { 'idempotency.key_hash': request, 'idempotency.attempt': 1, 'idempotency.replayed': false })
})

t.test('work of app.idempotency.run that loses its key is not recorded on the span of the timer’s owner', async (t) => {
  const { app, listen, passTime, spanOf } = await buildTraced(t, { lease: 60_000 })
  lookAfterLeasesOften(app)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k', undefined, named('owner'))
  await route.began()
  const finish = gate()
  const work = app.idempotency.run({ scope: 'mails', key: 'm' }, async ({ signal }) => {
    await app.idempotency.forget('m', 'mails')
    t.notOk(signal.aborted)
    // Another owner has the key now.
    const successor = app.idempotency.run({ scope: 'mails', key: 'm' }, async () => finish.opened)
    await passTime(20_000)
    await until(() => signal.aborted, 'the loss')
    finish.open()
    await successor
  })
  await work
  t.equal(app.idempotency.stats().leasesLost, 1)
  route.finish()
  await owner
  t.same(eventNames(await spanOf('owner')), ['idempotency.claimed', 'idempotency.completed'])
})

t.test('without an active span, and with one that is not sampled, requests are answered as ever', async (t) => {
  const { app, listen, spanOf } = await buildTraced(
    t,
    {},
    { traced: request => request.headers['x-request'] === 'traced' }
  )
  app.post('/x', { config: { idempotency: true } }, async () => trace.getActiveSpan()?.isRecording() ?? 'none')
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'none')
  t.ok((await client.post('/x', 'k')).replayed)
  await client.post('/x', 'k', undefined, named('traced'))
  t.same(eventNames(await spanOf('traced')), ['idempotency.replayed'], 'and it is told where there is one')

  const unsampled = await buildTraced(t, {}, { sampled: new AlwaysOffSampler() })
  unsampled.app.post('/x', { config: { idempotency: true } }, async () => trace.getActiveSpan()?.isRecording())
  t.equal((await (await unsampled.listen()).post('/x', 'k')).text, 'false')
})

t.test('every event is listened to until stop, and from then on spans tell nothing', async (t) => {
  const { app, listen, spanOf, stop } = await buildTraced(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  t.same(heard(), Object.keys(channels))
  stop()
  t.same(heard(), [])
  await client.post('/x', 'k', undefined, named('request'))
  const span = await spanOf('request')
  t.same(span.events, [])
  t.same(span.attributes, {})
})

for (const [options, message] of [
  [{ scope: true }, 'unknown option "scope"; known is recordScope'],
  [{ recordScope: 'yes' }, 'option "recordScope" must be true or false, got "yes"']
] as const) {
  t.test(`a wrong option is refused: ${message}`, async (t) => {
    t.throws(() => idempotencyTracing(options as object), {
      code: 'FST_IDEMPOTENCY_OPTION_INVALID',
      message: `fastify-idempotency/opentelemetry: ${message}`
    })
    t.same(heard(), [])
  })
}
