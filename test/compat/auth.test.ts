import auth from '@fastify/auth'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { inEachPosition, refusal, replayed } from './helper.ts'

const byKey = async (request: FastifyRequest): Promise<void> => {
  if (request.headers['x-api-key'] !== 'good') throw refusal(401, 'no api key')
}
const byTicket = (request: FastifyRequest, _reply: unknown, done: (error?: Error) => void): void => {
  done(request.headers['x-ticket'] === 'good' ? undefined : new Error('no ticket'))
}

const arrangement = {
  other: (app: FastifyInstance) => app.register(auth),
  routes (app: FastifyInstance, run: () => number) {
    for (const hook of ['onRequest', 'preHandler'] as const) {
      app.post(`/either/${hook}`, { [hook]: app.auth([byKey, byTicket]), config: { idempotency: true } }, async () => ({
        run: run()
      }))
      app.post(
        `/both/${hook}`,
        { [hook]: app.auth([byKey, byTicket], { relation: 'and' }), config: { idempotency: true } },
        async () => ({ run: run() })
      )
    }
  }
}

inEachPosition('nothing is claimed or replayed ' +
  'for a caller whom every strategy refuses', arrangement, async (t, { client, idempotency, runs }) => {
  const good = { 'x-api-key': 'good', 'x-ticket': 'good' }
  for (const [path, headers] of [
    ['/either/onRequest', {}],
    ['/either/preHandler', {}],
    ['/both/onRequest', { 'x-ticket': 'good' }],
    ['/both/preHandler', { 'x-api-key': 'good' }]
  ] as Array<[string, Record<string, string>]>) {
    t.equal((await client.post(path, path, {}, headers)).status, 401, path)
    t.equal(await idempotency.find(path, 'global'), null, path)
    await replayed(t, client, path, path, { body: {}, headers: good })
    const refused = await client.post(path, path, {}, headers)
    t.equal(refused.status, 401, path)
    t.equal(refused.replayed, false, path)
  }
  t.equal(runs(), 4)
})

inEachPosition('a retry may be let in by another strategy than the first', arrangement, async (t, { client, runs }) => {
  const first = await client.post('/either/preHandler', 'k', {}, { 'x-api-key': 'good' })
  const second = await client.post('/either/preHandler', 'k', {}, { 'x-ticket': 'good' })
  t.equal(first.status, 200)
  t.equal(second.status, 200)
  t.equal(second.replayed, true)
  t.equal(runs(), 1)
})
