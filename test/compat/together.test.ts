import compress from '@fastify/compress'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import etag from '@fastify/etag'
import formbody from '@fastify/formbody'
import helmet from '@fastify/helmet'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import sensible from '@fastify/sensible'
import underPressure from '@fastify/under-pressure'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const TEXT = 'all work and no play '.repeat(200)

const arrangement = {
  async other (app: FastifyInstance): Promise<void> {
    await app.register(underPressure, { maxHeapUsedBytes: Number.MAX_SAFE_INTEGER })
    await app.register(helmet)
    await app.register(cors, { origin: true, credentials: true })
    await app.register(rateLimit, { max: 100 })
    await app.register(compress, { threshold: 100 })
    await app.register(etag)
    await app.register(cookie)
    await app.register(formbody)
    await app.register(sensible)
    await app.register(jwt, { secret: 'only for this test, nobody is let in' })
  },
  options: { scope: (request: FastifyRequest) => (request.user as { sub: string }).sub },
  routes (app: FastifyInstance, run: () => number) {
    app.get('/token', async () => app.jwt.sign({ sub: 'alice' }))
    app.post<{ Body: { amount: number } }>('/pay', {
      onRequest: async (request) => { await request.jwtVerify() },
      config: { idempotency: true },
      schema: { body: { type: 'object', required: ['amount'], properties: { amount: { type: 'integer' } } } }
    }, async (request, reply) => {
      run()
      if (request.body.amount > 100) throw app.httpErrors.paymentRequired('declined')
      return reply.code(201).setCookie('receipt', 'r1').send({ amount: request.body.amount, text: TEXT })
    })
  }
}

inEachPosition('with ten plugins at once a replay is the first answer, ' +
  'and each client gets its own encoding and 304', arrangement, async (t, { client, runs }) => {
  const authorization = `Bearer ${(await client.get('/token')).text}`
  const headers = { authorization, origin: 'https://a.example', 'accept-encoding': 'gzip' }
  const anew = ['set-cookie', 'x-ratelimit-remaining', 'x-ratelimit-reset']
  const [first, second] = await replayed(t, client, '/pay', 'k', { body: { amount: 5 }, headers, anew })
  t.equal(first.status, 201)
  t.equal(first.headers.get('content-encoding'), 'gzip')
  t.same([first.headers.getSetCookie().length, second.headers.getSetCookie().length], [1, 0])
  t.equal(Number(first.headers.get('x-ratelimit-remaining')) - Number(second.headers.get('x-ratelimit-remaining')), 1)

  const others = { ...headers, 'accept-encoding': 'identity', origin: 'https://b.example' }
  const plain = await client.post('/pay', 'k', { amount: 5 }, others)
  t.equal(plain.replayed, true)
  t.equal(plain.headers.get('content-encoding'), null)
  t.equal(plain.headers.get('access-control-allow-origin'), 'https://b.example')
  t.equal(plain.text, first.text)
  t.equal(plain.headers.get('etag'), first.headers.get('etag'))
  t.equal(
    (await client.post('/pay', 'k', { amount: 5 }, { ...headers, 'if-none-match': String(first.headers.get('etag')) }))
      .status,
    304
  )
  const form = { ...headers, 'content-type': 'application/x-www-form-urlencoded' }
  t.equal((await client.post('/pay', 'k', 'amount=5', form)).status, 422, 'a form')
  t.equal(runs(), 1)
})

inEachPosition('with ten plugins at once what they refuse claims nothing, ' +
  'and what the handler refuses is kept', arrangement, async (t, { client, idempotency, runs }) => {
  const authorization = `Bearer ${(await client.get('/token')).text}`
  t.equal((await client.post('/pay', 'k', { amount: 5 })).status, 401)
  t.equal((await client.post('/pay', 'k', { amount: 'many' }, { authorization })).status, 400)
  t.equal(await idempotency.find('k', 'alice'), null)
  const [declined] = await replayed(t, client, '/pay', 'k', {
    body: { amount: 500 },
    headers: { authorization },
    anew: ['x-ratelimit-remaining', 'x-ratelimit-reset']
  })
  t.equal(declined.status, 402)
  t.equal(declined.json.message, 'declined')
  t.equal(runs(), 1)
})
