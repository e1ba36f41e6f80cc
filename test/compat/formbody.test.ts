import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const form = { 'content-type': 'application/x-www-form-urlencoded' }

const arrangement = {
  other: (app: FastifyInstance) => app.register(formbody),
  routes (app: FastifyInstance, run: () => number) {
    app.post('/pay', { config: { idempotency: true } }, async request => ({ run: run(), got: request.body }))
  }
}

inEachPosition('a form is compared by its fields as it is, ' +
  'in any order and encoding', arrangement, async (t, { client, runs }) => {
  const [first] = await replayed(t, client, '/pay', 'k', { body: 'amount=5&note=a+b&tag=x&tag=y', headers: form })
  t.same(first.json, { run: 1, got: { amount: '5', note: 'a b', tag: ['x', 'y'] } })
  const reordered = await client.post('/pay', 'k', 'note=a%20b&tag=x&tag=y&amount=5', form)
  t.equal(reordered.replayed, true)
  t.equal(runs(), 1)
})

inEachPosition('a form with another field, value ' +
  'or order of values is another request', arrangement, async (t, { client, runs }) => {
  await client.post('/pay', 'k', 'amount=5&tag=x&tag=y', form)
  for (const body of [
    'amount=6&tag=x&tag=y', 'amount=5&tag=y&tag=x', 'amount=5&tag=x', 'amount=5&tag=x&tag=y&more=', ''
  ]) {
    t.equal((await client.post('/pay', 'k', body, form)).json.code, 'FST_IDEMPOTENCY_KEY_REUSED', body)
  }
  t.equal(runs(), 1)
})

inEachPosition('a form and JSON with the same fields are two requests', arrangement, async (t, { client, runs }) => {
  await client.post('/pay', 'k', 'amount=5', form)
  t.equal((await client.post('/pay', 'k', { amount: '5' })).status, 422)
  t.equal(runs(), 1)
})
