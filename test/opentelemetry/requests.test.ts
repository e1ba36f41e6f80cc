import t from 'tap'
import { recordId } from '../../plugin/core/record-id.ts'
import { holdRoute, until } from '../helper.ts'
import { buildTraced, eventNames, eventsOf, named } from './helper.ts'

const KEY_HASH = recordId('customer-1', 'secret-key')

t.test('the spans of a first run and of its replay tell the hash of the key, the attempt and the answer', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t, { scope: () => 'customer-1' })
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) => reply.code(201).send({ done: true }))
  const client = await listen()
  await client.post('/x', 'secret-key', {}, named('first'))
  await client.post('/x', 'secret-key', {}, named('retry'))

  const first = await spanOf('first')
  t.same(first.attributes, {
    'idempotency.key_hash': KEY_HASH,
    'idempotency.attempt': 1,
    'idempotency.replayed': false
  })
  const [claimed, completed, ...others] = eventsOf(first)
  t.match(claimed, {
    name: 'idempotency.claimed',
    attributes: { 'idempotency.key_hash': KEY_HASH, 'idempotency.attempt': 1 }
  })
  t.match(completed, {
    name: 'idempotency.completed',
    attributes: { 'idempotency.key_hash': KEY_HASH, 'idempotency.attempt': 1, 'http.response.status_code': 201 }
  })
  t.same(others, [])
  const [claim, run] = [claimed, completed].map(event => event?.attributes['idempotency.duration_ms'] as number) as [
    number,
    number
  ]
  t.ok(claim > 0 && run > claim, `a run of ${run} ms, ${claim} ms of them its claim`)

  const retry = await spanOf('retry')
  t.same(retry.attributes, { 'idempotency.key_hash': KEY_HASH, 'idempotency.attempt': 1, 'idempotency.replayed': true })
  t.match(eventsOf(retry), [
    {
      name: 'idempotency.replayed',
      attributes: {
        'http.response.status_code': 201,
        'idempotency.recalled': false,
        'idempotency.cached': false,
        'idempotency.duration_ms': Number
      }
    }
  ])
  t.equal(retry.events.length, 1)
  t.notMatch(
    JSON.stringify([first, retry].map(({ attributes, events }) => ({ attributes, events }))),
    /secret-key|customer-1/
  )
})

t.test('the span of a duplicate that is answered from the replay cache tells so', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t, { replayCache: {} })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k', undefined, named('first'))
  await client.post('/x', 'k', undefined, named('duplicate'))
  const span = await spanOf('duplicate')
  t.match(span.attributes, { 'idempotency.replayed': true, 'idempotency.attempt': 1 })
  t.match(eventsOf(span), [
    { name: 'idempotency.replayed', attributes: { 'idempotency.recalled': false, 'idempotency.cached': true } }
  ])
})

t.test('the span of a refused request tells why', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k', { amount: 1 }, named('owner'))
  await route.began()
  t.equal((await client.post('/x', 'k', { amount: 1 }, named('duplicate'))).status, 409)
  t.equal((await client.post('/x', 'k', { amount: 2 }, named('another body'))).status, 422)
  route.finish()
  await owner
  for (const [name, event] of [
    ['duplicate', 'idempotency.conflicted'],
    ['another body', 'idempotency.mismatched']
  ] as const) {
    const span = await spanOf(name)
    t.same(eventNames(span), [event])
    t.same(span.attributes, { 'idempotency.key_hash': recordId('global', 'k'), 'idempotency.replayed': false })
  }
})

t.test('the span of a duplicate that waits tells for how long, and what it waited for', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t, { onConflict: 'wait' })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k', undefined, named('owner'))
  await route.began()
  const duplicate = client.post('/x', 'k', undefined, named('duplicate'))
  await until(() => app.idempotency.stats().waited === 1)
  const held = performance.now()
  await until(() => performance.now() - held > 100)
  route.finish()
  await Promise.all([owner, duplicate])
  const span = await spanOf('duplicate')
  t.same(eventNames(span), ['idempotency.waited', 'idempotency.replayed'])
  t.ok(Number(eventsOf(span)[0]?.attributes['idempotency.duration_ms']) > 100)
  t.match(span.attributes, { 'idempotency.replayed': true, 'idempotency.attempt': 1 })
})

t.test('a run that failed and the one that takes over are told apart', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t)
  app.post('/x', { config: { idempotency: true } }, async (request, reply) => {
    return request.idempotency?.attempt === 1 ? reply.code(503).send('not now') : 'done'
  })
  const client = await listen()
  await client.post('/x', 'k', undefined, named('failed'))
  await client.post('/x', 'k', undefined, named('again'))
  const failed = await spanOf('failed')
  t.same(eventNames(failed), ['idempotency.claimed', 'idempotency.released'])
  t.equal(eventsOf(failed)[1]?.attributes['http.response.status_code'], 503)
  const again = await spanOf('again')
  t.same(eventNames(again), ['idempotency.taken_over', 'idempotency.completed'])
  t.match(again.attributes, { 'idempotency.attempt': 2, 'idempotency.replayed': false })
})

t.test('a body that comes in pieces and an answer that is a stream do not lose the span', async (t) => {
  const { app, listen, spanOf } = await buildTraced(t)
  app.post('/x', { config: { idempotency: true }, bodyLimit: 4_000_000 }, async (_request, reply) => {
    return reply.send(new Blob(['a', 'stream']).stream())
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k', { text: 'x'.repeat(2_000_000) }, named('large'))).text, 'astream')
  t.same(eventNames(await spanOf('large')), ['idempotency.claimed', 'idempotency.completed'])
})

t.test('the scope is told where it is asked for', async (t) => {
  const { app, listen, spanOf } = await buildTraced(
    t,
    { scope: () => 'customer-1' },
    { tracing: { recordScope: true } }
  )
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  await (await listen()).post('/x', 'k', undefined, named('request'))
  const span = await spanOf('request')
  t.equal(span.attributes['idempotency.scope'], 'customer-1')
  t.same(eventsOf(span).map(({ attributes }) => attributes['idempotency.scope']), ['customer-1', 'customer-1'])
})
