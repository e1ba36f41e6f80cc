import cookie from '@fastify/cookie'
import session from '@fastify/session'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Client } from '../helper.ts'
import { inEachPosition } from './helper.ts'

interface Session {
  get (name: string): string | undefined
  set (name: string, value: string): void
}

const sessionOf = (request: FastifyRequest): Session => request.getDecorator<Session>('session')

const arrangement = {
  async other (app: FastifyInstance): Promise<void> {
    await app.register(cookie)
    await app.register(session, { secret: 'only for this test, nobody is let in', cookie: { secure: false } })
  },
  options: { scope: (request: FastifyRequest) => sessionOf(request).get('customer') ?? 'nobody' },
  routes (app: FastifyInstance, run: () => number) {
    app.post('/login/:customer', async (request) => {
      sessionOf(request).set('customer', (request.params as { customer: string }).customer)
    })
    app.post('/pay', { config: { idempotency: true } }, async (request) => {
      sessionOf(request).set('paid', 'yes')
      return { run: run() }
    })
    app.get('/paid', async request => sessionOf(request).get('paid') ?? 'no')
  }
}

async function logIn (client: Client, customer: string): Promise<string> {
  return cookieOf((await client.post(`/login/${customer}`)).headers) as string
}

function cookieOf (headers: Headers): string | undefined {
  return headers.getSetCookie()[0]?.split(';')[0]
}

inEachPosition('a retry from another session of the same customer is a replay, ' +
  'and does not take over the first session', arrangement, async (t, { client, runs }) => {
  const [phone, laptop] = [await logIn(client, 'alice'), await logIn(client, 'alice')]
  const first = await client.post('/pay', 'k', undefined, { cookie: phone })
  const second = await client.post('/pay', 'k', undefined, { cookie: laptop })
  t.equal(second.replayed, true)
  t.equal(second.text, first.text)
  t.equal(cookieOf(first.headers), phone)
  t.equal(cookieOf(second.headers), laptop, 'the session cookie is made anew')
  const paid = async (cookie: string): Promise<string> =>
    (await fetch(`${client.url}/paid`, { headers: { cookie } })).text()
  t.equal(await paid(phone), 'yes', 'what the handler put into its session stands there')
  t.equal(await paid(laptop), 'no', 'a replay changes no session')
  t.equal(runs(), 1)
})

inEachPosition('a customer is not shown the answer of another one’s session', arrangement, async (t, { client }) => {
  const alice = await client.post('/pay', 'k', undefined, { cookie: await logIn(client, 'alice') })
  const bob = await client.post('/pay', 'k', undefined, { cookie: await logIn(client, 'bob') })
  t.equal(alice.text, '{"run":1}')
  t.equal(bob.text, '{"run":2}')
  t.equal(bob.replayed, false)
})
