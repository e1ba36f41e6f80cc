import { randomUUID } from 'node:crypto'
import { listen } from './given.ts'
import { testPage } from './run.ts'

await testPage('README.md', {
  async 'Answers that outlive Redis and the process' (t, { app }) {
    await app.pg.query('CREATE TABLE orders (id text PRIMARY KEY, paid boolean NOT NULL DEFAULT false)')
    await app.pg.query("INSERT INTO orders VALUES ('17')")
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'global'))
    const first = await client.post('/orders/17/pay', key)
    t.same(first.json, { id: '17', paid: true })
    t.equal((await client.post('/orders/17/pay', randomUUID())).status, 409, 'the order is paid')
    await app.idempotency.forget(key, 'global')
    const retry = await client.post('/orders/17/pay', key)
    t.equal(retry.text, first.text, 'also when Redis has forgotten it')
    t.equal(retry.replayed, true)
    t.equal(app.idempotency.stats().recalled, 1)
  }
})
