import { randomUUID } from 'node:crypto'
import { listen } from './given.ts'
import { testPage } from './run.ts'

await testPage('docs/options.md', {
  async 'How to set options' (t, { app }) {
    const { url, post } = await listen(t, app)
    const put = (headers: Record<string, string>): Promise<Response> =>
      fetch(`${url}/profile`, { method: 'PUT', headers })
    const keys = [randomUUID(), randomUUID()] as const
    t.teardown(() => Promise.all(keys.map(key => app.idempotency.forget(key, 'alice'))))
    t.equal((await post('/searches')).status, 200)
    t.equal((await put({})).status, 400)
    t.equal((await put({ 'idempotency-key': keys[0] })).status, 200)
    t.equal((await post('/orders/17/pay')).status, 400)
    t.equal((await post('/orders/17/pay', keys[1])).status, 200)
  },

  async 'The key' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    t.equal((await client.post('/orders/17/pay', key)).status, 200)
    t.equal((await client.post('/orders/17/pay', 'pay-17')).json.code, 'FST_IDEMPOTENCY_KEY_INVALID')
  },

  async 'The same request' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const first = await client.post('/payments', 'k', { orderId: '17', amount: 5, sentAt: 'now' })
    t.equal(first.status, 200)
    t.equal((await client.post('/payments', 'k', { orderId: '17', amount: 5, sentAt: 'later' })).text, first.text)
    t.equal((await client.post('/payments', 'k', { orderId: '17', amount: 6, sentAt: 'now' })).status, 422)
  },

  async 'The same request 2' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const send = (transfer: object) => client.post('/transfers', 'k', transfer)
    const first = await send({ orderId: '17', to: { iban: 'x', name: 'y' }, sentAt: 'now' })
    t.equal(first.status, 200)
    t.equal((await send({ to: { name: 'y', iban: 'x' }, orderId: '17', sentAt: 'later' })).text, first.text)
    t.equal((await send({ orderId: '17', to: { iban: 'z', name: 'y' }, sentAt: 'now' })).status, 422)
  },

  async 'Refusals' (t, { app }) {
    const client = await listen(t, app)
    const refused = await client.post('/orders/17/pay')
    t.equal(refused.status, 400)
    t.same(refused.json, { error: 'FST_IDEMPOTENCY_KEY_MISSING', again: false })
    t.match(refused.headers.get('link'), /rel="describedby"/)
  }
})
