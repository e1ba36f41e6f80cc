import cookie from '@fastify/cookie'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const arrangement = {
  other: (app: FastifyInstance) => app.register(cookie, { secret: 'only for this test, nobody is let in' }),
  routes (app: FastifyInstance, run: () => number) {
    app.addHook('preHandler', async (request, reply) => {
      reply.setCookie('seen', request.headers['x-now'] as string)
    })
    app.post('/x', {
      config: {
        idempotency: { scope: request => request.unsignCookie(request.cookies.customer as string).value ?? '' }
      }
    }, async (_request, reply) => {
      reply.setCookie('token', 'secret of the first answer', { httpOnly: true }).clearCookie('cart')
      return { run: run() }
    })
    app.post('/login', async (_request, reply) => reply.setCookie('customer', 'alice', { signed: true }).send())
  }
}

inEachPosition('a cookie that the handler set is not replayed, ' +
  'one that a hook sets is made anew', arrangement, async (t, { client, runs }) => {
  const [customer = ''] = (await client.post('/login')).headers
    .getSetCookie()
    .filter(cookie => cookie.startsWith('customer='))
  const headers = { cookie: customer.split(';')[0] as string }
  const first = await client.post('/x', 'k', undefined, { ...headers, 'x-now': 'noon' })
  t.same(
    first.headers
      .getSetCookie()
      .map(cookie => cookie.split(';')[0])
      .sort(),
    ['cart=', 'seen=noon', 'token=secret%20of%20the%20first%20answer']
  )
  const second = await client.post('/x', 'k', undefined, { ...headers, 'x-now': 'evening' })
  t.same(second.headers.getSetCookie().map(cookie => cookie.split(';')[0]), ['seen=evening'])
  t.equal(second.replayed, true)
  t.equal(second.text, first.text)
  t.equal(runs(), 1)
})

inEachPosition('a replay is for a signed cookie’s customer', arrangement, async (t, { client, idempotency, runs }) => {
  const [customer = ''] = (await client.post('/login')).headers
    .getSetCookie()
    .filter(cookie => cookie.startsWith('customer='))
  const signed = customer.split(';')[0] as string
  await replayed(t, client, '/x', 'k', { headers: { cookie: signed, 'x-now': 'noon' }, anew: ['set-cookie'] })
  t.equal((await idempotency.find('k', 'alice'))?.statusCode, 200)
  const forged = await client.post('/x', 'k', undefined, {
    cookie: signed.replace('alice', 'mallory'),
    'x-now': 'noon'
  })
  t.equal(forged.json.code, 'FST_IDEMPOTENCY_SCOPE_INVALID')
  t.equal(runs(), 1)
})
