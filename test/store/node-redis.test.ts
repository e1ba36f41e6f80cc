import { createClient } from 'redis'
import t from 'tap'
import type { Test } from 'tap'
import { StoreRefusedError, StoreUnreachableError } from '../../plugin/index.ts'
import { build, connectRedis, newPrefix, REDIS_URL } from '../helper.ts'
import { storeContract } from './contract.ts'
import { aClaim, anOutcome, ID, own } from './harness.ts'
import { NodeRedisStore } from './node-redis.ts'
import { ownRedis } from './own-redis.ts'

/** A client of the npm package `redis`, which is closed when the test ends. */
async function connect (t: Test, url = REDIS_URL) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => { if (client.isOpen) client.destroy() })
  return client
}

/** A prefix whose keys are deleted when the test ends. */
async function ownPrefix (t: Test): Promise<string> {
  const prefix = newPrefix()
  await connectRedis(t, { prefix }).ping()
  return prefix
}

storeContract(t, 'a store of one’s own, on the npm package redis,', async (t) => {
  const prefix = await ownPrefix(t)
  return { store: new NodeRedisStore(await connect(t), prefix), other: new NodeRedisStore(await connect(t), prefix) }
})

for (const onConflict of ['reject', 'wait'] as const) {
  t.test(`an app with its own store charges once, however often it is asked (a conflict: ${onConflict})`, async (t) => {
    const prefix = await ownPrefix(t)
    let charges = 0
    const urls = await Promise.all([0, 1].map(async () => {
      const { app, listen } = await build(t, { store: new NodeRedisStore(await connect(t), prefix), onConflict })
      app.post('/pay', { config: { idempotency: true } }, async (request, reply) => {
        charges++
        return reply
          .code(201)
          .header('x-receipt', 'r-1')
          .send({ paid: request.body, attempt: request.idempotency?.attempt })
      })
      return listen()
    }))
    const pay = (i: number): ReturnType<(typeof urls)[number]['post']> =>
      (urls[i % 2] as (typeof urls)[number]).post('/pay', 'order-1', { amount: 1999 })
    const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => pay(i)))
    const refused = answers.filter(({ status }) => status === 409)
    t.equal(charges, 1)
    if (onConflict === 'wait') t.equal(refused.length, 0, 'all of them are answered')
    const first = answers.find(({ status, replayed }) => status === 201 && !replayed)
    t.same(first?.json, { paid: { amount: 1999 }, attempt: 1 })
    const again = await pay(1)
    t.match(again, { status: 201, replayed: true, text: first?.text })
    t.equal(again.headers.get('x-receipt'), 'r-1')
    t.equal(charges, 1)
  })
}

t.test('a store whose client is not connected says that it was not touched', async (t) => {
  const client = await connect(t)
  const store = new NodeRedisStore(client, await ownPrefix(t))
  client.destroy()
  await t.rejects(store.claim(ID, aClaim()), StoreUnreachableError)
})

t.test('a store on a full Redis says what was refused, and still answers with what is there', async (t) => {
  const server = await ownRedis(t)
  const store = new NodeRedisStore(await connect(t, server.url))
  const running = await own(store, aClaim(), 'running')
  await store.complete('settled', await own(store, aClaim(), 'settled'), anOutcome())
  await server.admin.config('SET', 'maxmemory', '1')
  await t.rejects(store.claim('new', aClaim()), StoreRefusedError)
  await t.rejects(store.complete('running', running, anOutcome()), StoreRefusedError)
  t.match(await store.claim('running', aClaim()), { state: 'running', ownerLeft: false })
  t.match(await store.claim('settled', aClaim()), { state: 'settled', attempt: 1 })
  t.equal(await store.find('new'), null)
})
