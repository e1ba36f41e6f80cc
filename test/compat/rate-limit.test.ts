import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, refusal } from './helper.ts'

const MAX = 2
const REMAINING = 'x-ratelimit-remaining'

/*
 * Three places to spend the limit, and who pays there:
 *
 * - `onRequest` (the default of the other plugin) and `preHandler`: every request, replays too, since the key is
 *   claimed after all checks, in whichever order the two are registered.
 * - the handler: only requests that run it. A replay is never charged, and never blocked.
 */
for (const hook of ['onRequest', 'preHandler'] as const) {
  const arrangement = {
    other: (app: FastifyInstance) =>
      app.register(rateLimit, {
        max: MAX,
        timeWindow: '1 hour',
        hook,
        keyGenerator: request => String(request.headers['x-caller'])
      }),
    routes (app: FastifyInstance, run: () => number) {
      app.post('/pay', { config: { idempotency: true } }, async () => `run ${run()}`)
    }
  }

  inEachPosition(`every request is charged in ${hook}, a replay too, ` +
    'and its headers tell what is left now', arrangement, async (t, { client, runs }) => {
    const alice = { 'x-caller': 'alice' }
    t.equal((await client.post('/pay', 'k', undefined, alice)).headers.get(REMAINING), '1')
    const replay = await client.post('/pay', 'k', undefined, alice)
    t.equal(replay.replayed, true)
    t.equal(replay.headers.get(REMAINING), '0')
    const blocked = await client.post('/pay', 'k', undefined, alice)
    t.equal(blocked.status, 429)
    t.equal(blocked.replayed, false)
    t.equal(runs(), 1)
  })

  inEachPosition(`nothing is claimed by a request that is refused in ${hook}, ` +
    'and a caller with calls left is served', arrangement, async (t, { client, idempotency, runs }) => {
    for (const key of ['a', 'b']) await client.post('/pay', key, undefined, { 'x-caller': 'alice' })
    t.equal((await client.post('/pay', 'k', undefined, { 'x-caller': 'alice' })).status, 429)
    t.equal(await idempotency.find('k', 'global'), null)
    t.equal((await client.post('/pay', 'k', undefined, { 'x-caller': 'bob' })).text, 'run 3')
    t.equal(runs(), 3)
  })
}

const inHandler = {
  other: (app: FastifyInstance) => app.register(rateLimit, { global: false }),
  routes (app: FastifyInstance, run: () => number) {
    const spend = app.createRateLimit({ max: request => Number(request.headers['x-plan']), timeWindow: '1 hour' })
    app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
      const spent = await spend(request)
      if (!spent.isAllowed && spent.isExceeded) {
        reply.header('retry-after', spent.ttlInSeconds)
        throw refusal(429, 'too many payments')
      }
      return `run ${run()}`
    })
  }
}

inEachPosition('a replay is neither charged nor blocked ' +
  'where the handler spends the limit', inHandler, async (t, { client, runs }) => {
  const pay = async (key: string): ReturnType<typeof client.post> =>
    client.post('/pay', key, undefined, { 'x-plan': '2' })
  for (const [key, text] of [['a', 'run 1'], ['a', 'run 1'], ['a', 'run 1'], ['b', 'run 2'], ['b', 'run 2']] as const) {
    t.equal((await pay(key)).text, text)
  }
  t.equal((await pay('c')).status, 429, 'all calls are spent')
  const replay = await pay('a')
  t.equal(replay.text, 'run 1')
  t.equal(replay.replayed, true)
  t.equal(replay.headers.get('retry-after'), null)
  t.equal(runs(), 2)
})

inEachPosition('a run that its handler refuses keeps nothing, ' +
  'and its retry runs once there are calls again', inHandler, async (t, { client, idempotency, runs }) => {
  await client.post('/pay', 'a', undefined, { 'x-plan': '1' })
  const refused = await client.post('/pay', 'b', undefined, { 'x-plan': '1' })
  t.equal(refused.status, 429)
  t.match(refused.headers.get('retry-after'), /^\d+$/)
  t.match(await idempotency.find('b', 'global'), { state: 'released', attempt: 1 })
  const retry = await client.post('/pay', 'b', undefined, { 'x-plan': '10' })
  t.equal(retry.text, 'run 2')
  t.equal(retry.replayed, false)
  t.equal(runs(), 2)
})
