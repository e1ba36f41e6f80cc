import { randomUUID } from 'node:crypto'
import { listen } from './given.ts'
import { testPage } from './run.ts'

await testPage('README.md', {
  async 'Quick start' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const first = await client.post('/orders/17/pay', key)
    const second = await client.post('/orders/17/pay', `"${key}"`)
    t.match(first.json, { orderId: '17', receipt: Number })
    t.equal(second.text, first.text)
    t.same([first.replayed, second.replayed], [false, true])
  },
  async 'Answers that outlive Redis and the process' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const first = await client.post('/orders/17/pay', key)
    t.match(first.json, { orderId: '17', receipt: Number })
    t.equal((await client.post('/orders/17/pay', randomUUID())).status, 409, 'the order is paid')
    await app.idempotency.forget(key, 'alice')
    const retry = await client.post('/orders/17/pay', key)
    t.equal(retry.text, first.text, 'also when Redis has forgotten it')
    t.equal(retry.replayed, true)
    t.equal(app.idempotency.stats().recalled, 1)
  },
  async 'Beyond requests' (t, { onMessage, protectedApp }) {
    const message = { id: randomUUID(), orderId: '17' }
    const first = await onMessage(message)
    t.match(first, { parcel: /^17 \d+$/ })
    t.same(await onMessage(message), first)
    t.equal(protectedApp.idempotency.stats().claimed, 1)
    await t.rejects(onMessage({ ...message, orderId: '18' }), { code: 'FST_IDEMPOTENCY_KEY_REUSED' })
  },
  async 'A client that retries' (t, { response }) {
    t.match(await response.json(), { receipt: Number })
    t.match(response.idempotency, { key: /^[0-9a-f-]{36}$/, tries: 1, replayed: false })
  }
})
