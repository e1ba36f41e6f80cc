import { randomUUID } from 'node:crypto'
import replyFrom from '@fastify/reply-from'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { bytesOf, readBodiesAsBytes, testGateway, withoutEncoding } from './gateway.ts'
import { inEachPosition, replayed } from './helper.ts'
import { startUpstream } from './upstream.ts'

const upstream = await startUpstream(t)

const other = (app: FastifyInstance) => app.register(replyFrom, { base: upstream.url })

testGateway(upstream, {
  other,
  routes (app) {
    readBodiesAsBytes(app)
    app.post('/api/*', { config: { idempotency: true } }, (request, reply) =>
      reply.from(request.url.slice('/api'.length).split('?', 1)[0], {
        ...bytesOf(request),
        rewriteRequestHeaders: withoutEncoding
      })
    )
  }
})

inEachPosition('JSON needs no preparation: it is compared by its fields, and forwarded serialized anew', {
  other,
  routes (app) {
    app.post('/pay', { config: { idempotency: true } }, (_request, reply) => reply.from('/pay'))
  }
}, async (t, { client }) => {
  const key = randomUUID()
  const headers = { 'content-type': 'application/json' }
  await replayed(t, client, '/pay', key, { body: '{ "a": 1, "b": 2 }', headers, anew: ['set-cookie'] })
  t.equal((await client.post('/pay', key, '{"b":2,"a":1}', headers)).replayed, true)
  t.equal(upstream.received(key).length, 1)
  t.equal(upstream.received(key)[0]?.body.toString(), '{"a":1,"b":2}')
})

inEachPosition('a body that is passed on as a stream is refused, not forwarded unprotected', {
  other,
  routes (app) {
    app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    app.post('/pay', { config: { idempotency: true } }, (_request, reply) => reply.from('/pay'))
  }
}, async (t, { client }) => {
  const key = randomUUID()
  const refused = await client.post('/pay', key, 'bytes', { 'content-type': 'application/x-own' })
  t.equal(refused.json.code, 'FST_IDEMPOTENCY_BODY_UNREADABLE')
  t.equal(upstream.received(key).length, 0)
})
