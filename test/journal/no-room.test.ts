import t from 'tap'
import { build, connectRedis, until } from '../helper.ts'
import { ownRedis } from '../store/own-redis.ts'
import { openDatabase } from './helper.ts'

t.test('an answer that Redis had no room for is replayed from the journal, and nothing runs', async (t) => {
  const database = await openDatabase(t)
  const { admin, url } = await ownRedis(t)
  const redis = connectRedis(t, { url })
  const { app, listen } = await build(t, { redis, journal: database.journal })
  const receipt = 'x'.repeat(500_000)
  app.post('/pay', { config: { idempotency: true } }, async request => database.charge(async (tx) => {
    return request.idempotency?.complete(tx, { body: receipt })
  }))
  const client = await listen()
  await until(() => redis.status === 'ready')
  const used = Number(/^used_memory:(\d+)/m.exec(await admin.info('memory'))?.[1])
  await admin.config('SET', 'maxmemory', String(used + 300_000))
  t.equal((await client.post('/pay', 'k')).text, receipt)
  await until(() => app.idempotency.stats().pending === 0, 'the record being stored')
  t.match(await app.idempotency.find('k', 'global'), { state: 'settled', statusCode: 200, response: null })
  for (let tries = 1; tries <= 2; tries++) {
    const retry = await client.post('/pay', 'k')
    t.match(retry, { status: 200, replayed: true })
    t.equal(retry.text, receipt)
  }
  t.match(app.idempotency.stats(), { claimed: 1, recalled: 2 })
  t.equal(await database.effects.count(), 1)
})
