import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const A = { origin: 'https://a.example' }
const B = { origin: 'https://b.example' }

const routes = (app: FastifyInstance, run: () => number): void => {
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
    reply.code(201).header('x-own', 'yes').send({ run: run() })
  )
}

for (const hook of ['onRequest', 'preHandler', 'preSerialization'] as const) {
  const arrangement = {
    other: (app: FastifyInstance) => app.register(cors, {
      hook,
      origin: ['https://a.example', 'https://b.example'],
      credentials: true,
      exposedHeaders: ['idempotent-replayed', 'retry-after']
    }),
    routes
  }

  inEachPosition(`a replay has the first answer’s CORS headers, set in ${hook}`, arrangement, async (t, { client }) => {
    const [first] = await replayed(t, client, '/x', 'k', { headers: A })
    t.equal(first.headers.get('access-control-allow-origin'), A.origin)
    t.equal(first.headers.get('access-control-expose-headers'), 'idempotent-replayed, retry-after')
    t.equal(first.headers.get('vary'), 'Origin')
  })

  // A preSerialization hook does not run for a replay, which is bytes: the replay has the headers that were kept.
  if (hook === 'preSerialization') continue

  inEachPosition('a replay is readable by the origin that asked for it, ' +
    `with CORS headers set in ${hook}`, arrangement, async (t, { client, runs }) => {
    await client.post('/x', 'k', undefined, A)
    const other = await client.post('/x', 'k', undefined, B)
    t.equal(other.replayed, true)
    t.equal(other.headers.get('access-control-allow-origin'), B.origin)
    const stranger = await client.post('/x', 'k', undefined, { origin: 'https://evil.example' })
    t.equal(stranger.headers.get('access-control-allow-origin'), null)
    t.equal(runs(), 1)
  })

  inEachPosition(`browsers may read refusals, with CORS headers set in ${hook}`, arrangement, async (t, { client }) => {
    await client.post('/x', 'k', { amount: 1 }, A)
    for (const [key, body, status] of [[null, { amount: 1 }, 400], ['k', { amount: 2 }, 422]] as const) {
      const refused = await client.post('/x', key, body, A)
      t.equal(refused.status, status)
      t.equal(refused.headers.get('access-control-allow-origin'), A.origin)
    }
  })
}

inEachPosition('a preflight needs no key and claims none, with every method protected', {
  other: app => app.register(cors, { origin: true }),
  routes (app, run) {
    app.route({
      method: ['POST', 'OPTIONS'],
      url: '/x',
      config: { idempotency: true },
      handler: async () => ({ run: run() })
    })
  }
}, async (t, { client, idempotency, runs }) => {
  const preflight = await fetch(`${client.url}/x`, {
    method: 'OPTIONS',
    headers: { ...A, 'access-control-request-method': 'POST', 'access-control-request-headers': 'idempotency-key' }
  })
  t.equal(preflight.status, 204)
  t.equal(preflight.headers.get('access-control-allow-headers'), 'idempotency-key')
  t.equal(idempotency.stats().claimed, 0)
  t.equal(runs(), 0)
})
