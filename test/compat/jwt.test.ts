import jwt from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const verify = async (request: FastifyRequest): Promise<void> => { await request.jwtVerify() }

for (const hook of ['onRequest', 'preValidation', 'preHandler'] as const) {
  const arrangement = {
    other: (app: FastifyInstance) => app.register(jwt, { secret: 'only for this test, nobody is let in' }),
    options: { scope: (request: FastifyRequest) => (request.user as { sub: string }).sub },
    routes (app: FastifyInstance, run: () => number) {
      app.post<{ Body: { sub: string, jti: string } }>('/token', async request =>
        app.jwt.sign(request.body, { expiresIn: '1h' })
      )
      const checked: RouteShorthandOptions = { [hook]: verify, config: { idempotency: true } }
      app.post('/pay', checked, async () => ({ run: run() }))
    }
  }

  inEachPosition('nothing is claimed or replayed without a valid token, ' +
    `verified in ${hook}`, arrangement, async (t, { client, idempotency, runs }) => {
    const { text: token } = await client.post('/token', null, { sub: 'alice', jti: '1' })
    const forged = { authorization: `Bearer ${token.slice(0, -4)}AAAA` }
    for (const headers of [{}, forged]) t.equal((await client.post('/pay', 'k', {}, headers)).status, 401)
    t.equal(await idempotency.find('k', 'alice'), null)
    await replayed(t, client, '/pay', 'k', { body: {}, headers: { authorization: `Bearer ${token}` } })
    for (const headers of [{}, forged]) {
      const refused = await client.post('/pay', 'k', {}, headers)
      t.equal(refused.status, 401)
      t.equal(refused.replayed, false)
    }
    t.equal(runs(), 1)
  })

  inEachPosition('a retry with a fresh token of the same subject is a replay, ' +
    `verified in ${hook}`, arrangement, async (t, { client, runs }) => {
    const pay = async (sub: string, jti: string): ReturnType<typeof client.post> =>
      client.post(
        '/pay',
        'k',
        {},
        { authorization: `Bearer ${(await client.post('/token', null, { sub, jti })).text}` }
      )
    t.equal((await pay('alice', '1')).text, '{"run":1}')
    t.equal((await pay('alice', '2')).replayed, true)
    t.equal((await pay('bob', '3')).text, '{"run":2}')
    t.equal(runs(), 2)
  })
}
