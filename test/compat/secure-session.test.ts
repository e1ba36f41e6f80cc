import secureSession from '@fastify/secure-session'
import type { Session } from '@fastify/secure-session'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { inEachPosition } from './helper.ts'

interface Customer {
  customer: string
  'step-up': string
}

const sessionOf = (request: FastifyRequest): Session<Customer> => request.getDecorator<Session<Customer>>('session')

const arrangement = {
  other: (app: FastifyInstance) => app.register(secureSession, { key: Buffer.alloc(32, 'k') }),
  options: { scope: (request: FastifyRequest) => sessionOf(request).get('customer') ?? 'nobody' },
  routes (app: FastifyInstance, run: () => number) {
    app.post('/login/:customer', async (request) => {
      sessionOf(request).set('customer', (request.params as { customer: string }).customer)
    })
    app.post('/pay', { config: { idempotency: true } }, async (request) => {
      sessionOf(request).set('step-up', 'passed')
      return { run: run() }
    })
    app.get('/step-up', async request => sessionOf(request).get('step-up') ?? 'not passed')
  }
}

function cookieOf (headers: Headers): string | undefined {
  return headers.getSetCookie()[0]?.split(';')[0]
}

inEachPosition('a replay hands nobody the session of the first answer', arrangement, async (t, { client, runs }) => {
  const phone = cookieOf((await client.post('/login/alice')).headers) as string
  const laptop = cookieOf((await client.post('/login/alice')).headers) as string
  const first = await client.post('/pay', 'k', undefined, { cookie: phone })
  const second = await client.post('/pay', 'k', undefined, { cookie: laptop })
  t.equal(second.replayed, true)
  t.equal(second.text, first.text)
  t.same(second.headers.getSetCookie(), [], 'its session did not change, so there is none to send')
  const stepUp = async (cookie: string): Promise<string> =>
    (await fetch(`${client.url}/step-up`, { headers: { cookie } })).text()
  t.equal(await stepUp(cookieOf(first.headers) as string), 'passed')
  t.equal(await stepUp(laptop), 'not passed')
  t.equal(runs(), 1)
})

inEachPosition(
  'a customer is not shown the answer of another one’s secure session',
  arrangement,
  async (t, { client }) => {
    for (const [customer, run] of [['alice', 1], ['bob', 2]] as const) {
      const cookie = cookieOf((await client.post(`/login/${customer}`)).headers) as string
      const answer = await client.post('/pay', 'k', undefined, { cookie })
      t.equal(answer.text, `{"run":${run}}`)
      t.equal(answer.replayed, false)
    }
  }
)
