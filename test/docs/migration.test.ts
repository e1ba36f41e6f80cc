import { randomUUID } from 'node:crypto'
import { listen } from './given.ts'
import { testPage } from './run.ts'

await testPage('docs/migration.md', {
  async 'From @node-idempotency/core' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const answers = await Promise.all([1, 2, 3].map(() => client.post('/orders/17/pay', key)))
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    t.equal((await client.post('/orders/17/pay')).status, 200, 'and without a key it runs')
  },

  async 'From @aws-lambda-powertools/idempotency' (t, { shipOnce, ship }) {
    const shipment = { id: randomUUID(), orderId: '17' }
    const first = await shipOnce(shipment)
    t.match(first, { parcel: /^17 / })
    t.same(await shipOnce(shipment), first)
    t.equal(ship.calls, 1)
  },

  async 'From express-idempotency' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const first = await client.post('/orders/17/pay', key)
    t.equal(first.status, 201)
    t.equal((await client.post('/orders/17/pay', key)).text, first.text)
    t.equal((await client.post('/orders/17/pay')).status, 201)
  }
})
