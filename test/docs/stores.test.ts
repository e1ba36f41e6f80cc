import { randomUUID } from 'node:crypto'
import { storeContract } from '../../plugin/store-contract/index.ts'
import { until } from '../helper.ts'
import { listen } from './given.ts'
import { testPage } from './run.ts'

await testPage('docs/stores.md', {
  async 'Redis' (t, { app, redis, stop }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.equal((await client.post('/invoices', key)).status, 200)
    t.equal((await client.post('/invoices', key)).replayed, true)
    await app.idempotency.forget(key, 'alice')
    await stop()
    await until(() => redis.status === 'end', 'the end of the connection')
    await t.rejects(client.post('/invoices', key), 'the app does not listen any more')
  },

  async 'Memory' (t, { app }) {
    const client = await listen(t, app)
    t.same((await client.post('/orders', 'k')).json, { created: true })
    t.equal((await client.post('/orders', 'k')).replayed, true)
  },

  async 'One of your own' (t, { output }) {
    t.match(output, new RegExp(`^(#|ℹ) pass ${storeContract.length}$`, 'm'))
    t.match(output, /^(#|ℹ) fail 0$/m)
  }
})
