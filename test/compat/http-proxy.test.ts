import { randomUUID } from 'node:crypto'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { build } from '../helper.ts'
import { bytesOf, readBodiesAsBytes, testGateway, withoutEncoding } from './gateway.ts'
import { inEachPosition } from './helper.ts'
import { startUpstream } from './upstream.ts'

const upstream = await startUpstream(t)
const prefix = '/api'

const gateway = {
  async other (app: FastifyInstance): Promise<void> {
    readBodiesAsBytes(app)
    await app.register(httpProxy, {
      upstream: upstream.url,
      prefix,
      proxyPayloads: false,
      handler: (request, reply, destination, options) => reply.from(destination, { ...options, ...bytesOf(request) }),
      replyOptions: { rewriteRequestHeaders: withoutEncoding }
    })
  },
  routes: () => {},
  options: { global: true }
}

// Its routes exist as soon as it is registered, so the plugin has to be registered before.
testGateway(upstream, { ...gateway, first: 'plugin' })

inEachPosition('what needs no key is proxied', { ...gateway, first: 'plugin' }, async (t, { client, idempotency }) => {
  const answer = await client.get('/api/orders')
  t.equal(answer.status, 201)
  t.equal(answer.headers.get('x-upstream'), 'yes')
  t.equal(idempotency.stats().claimed, 0)
})

t.test('a proxy registered too early keeps the app from being ready, rather than forward unprotected', async (t) => {
  const { app } = await build(t, gateway.options, gateway.other)
  await t.rejects(
    async () => {
      await app.ready()
    },
    { code: 'FST_IDEMPOTENCY_ROUTE_UNSEEN', message: / \/api\/\* is to be protected|\/api\/\*.* are to be protected/ }
  )
})

inEachPosition('a proxy that passes bodies on as streams, as it does by default, is refused them', {
  other: app => app.register(httpProxy, { upstream: upstream.url, prefix }),
  routes: () => {},
  options: { global: true },
  first: 'plugin'
}, async (t, { client }) => {
  const key = randomUUID()
  const refused = await client.post('/api/pay', key, { amount: 1 })
  t.equal(refused.status, 415)
  t.equal(refused.json.code, 'FST_IDEMPOTENCY_BODY_UNREADABLE')
  t.equal(upstream.received(key).length, 0)
})
