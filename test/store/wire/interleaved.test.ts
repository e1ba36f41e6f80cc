import { Redis } from 'ioredis'
import t from 'tap'
import { newPrefix, REDIS_URL, until } from '../../helper.ts'
import { aClaim, openStore, own } from '../harness.ts'
import { answer, connected } from './clients.ts'
import type { ClientOptions } from './clients.ts'

/* The app uses the plugin's client for commands of its own, in the same turns of the event loop. */

const CLIENTS: ClientOptions[] = [
  {}, { enableAutoPipelining: true }, { protocol: 2 }, { protocol: 2, stringNumbers: true }
]

for (const options of CLIENTS) {
  t.test(`each caller gets the answer to its own command, with ${JSON.stringify(options)}`, async (t) => {
    const redis = await connected(t, options)
    const keyPrefix = newPrefix()
    const store = openStore(t, redis, keyPrefix)
    const counter = `${keyPrefix}counter`
    const calls: Array<(id: string) => [Promise<unknown>, expected: unknown]> = [
      id => [redis.echo(id), id],
      id => [store.claim(id, aClaim()), { state: 'claimed', attempt: 1 }],
      id => [store.find(`${id}-none`), null],
      id => [redis.pipeline().echo(id).echo(`${id}-2`).exec(), [[null, id], [null, `${id}-2`]]],
      id => [redis.multi().echo(id).echo(`${id}-2`).exec(), [[null, id], [null, `${id}-2`]]],
      id => [own(store, aClaim(), id).then(owned => store.complete(id, owned, answer(id))), true],
      id => [redis.call('ECHO', id), id],
      id => [redis.eval('return ARGV[1]', 1, counter, id), id],
      id => [redis.set(`${keyPrefix}${id}`, id).then(() => redis.getdel(`${keyPrefix}${id}`)), id],
      id => [redis.call('NO-SUCH-COMMAND', id).catch((error: Error) => error.message.includes(id)), true]
    ]
    // Each call at each place, with every other one before it.
    const turns = calls.flatMap((_, first) => calls.map((_, i) => [first, (first * i + i) % calls.length]))
    const made = turns.flat().map((call, i) => calls[call]?.(`id-${i}`) as [Promise<unknown>, unknown])
    t.strictSame(await Promise.all(made.map(([promise]) => promise)), made.map(([, expected]) => expected))
    await redis.del(await redis.keys(`${keyPrefix}*`))
  })
}

t.test('the app’s commands keep their order, with those of the plugin between them', async (t) => {
  const redis = await connected(t)
  const keyPrefix = newPrefix()
  const store = openStore(t, redis, keyPrefix)
  const order = Array.from({ length: 50 }, (_, i) => i + 1)
  const counted = await Promise.all(order.map(i => {
    void store.find(`record-${i}`)
    return redis.incr(`${keyPrefix}counter`)
  }))
  t.strictSame(counted, order)
  await redis.del(`${keyPrefix}counter`)
})

t.test('the plugin’s commands wait behind a command of the app that blocks, and are answered then', async (t) => {
  const redis = await connected(t)
  const admin = await connected(t)
  const keyPrefix = newPrefix()
  const store = openStore(t, redis, keyPrefix)
  const popped = redis.blpop(`${keyPrefix}list`, 0)
  const claim = store.claim('a', aClaim())
  await until(async () => /cmd=blpop/.test(String(await admin.client('LIST'))), 'a blocked client')
  await admin.rpush(`${keyPrefix}list`, 'x')
  t.strictSame(await popped, [`${keyPrefix}list`, 'x'])
  t.match(await claim, { state: 'claimed' })
  await store.forget('a')
})

t.test('a RESP2 client that has subscribed refuses with a clear error; a RESP3 client goes on', async (t) => {
  const keyPrefix = newPrefix()
  const old = await connected(t, { protocol: 2 })
  await old.subscribe(`${keyPrefix}news`)
  await t.rejects(openStore(t, old, keyPrefix).claim('a', aClaim()), { message: /subscriber mode/ })
  await old.unsubscribe(`${keyPrefix}news`)
  const redis = await connected(t, { protocol: 3 })
  await redis.subscribe(`${keyPrefix}news`)
  const store = openStore(t, redis, keyPrefix)
  const heard: string[] = []
  redis.on('message', (_channel: string, message: string) => heard.push(message))
  const claims = Promise.all(['a', 'b'].map(id => store.claim(id, aClaim())))
  await redis.publish(`${keyPrefix}news`, 'it is')
  t.match(await claims, [{ state: 'claimed' }, { state: 'claimed' }])
  await until(() => heard.length === 1)
  await Promise.all([store.forget('a'), store.forget('b')])
})

t.test('a client in monitor mode refuses with a clear error', async (t) => {
  const redis = new Redis(REDIS_URL, { monitor: true })
  t.teardown(() => redis.disconnect())
  await until(() => String(redis.status) === 'monitoring', 'a monitor')
  const ready = Object.create(redis, { status: { value: 'ready' } }) as Redis
  await t.rejects(openStore(t, ready, newPrefix()).claim('a', aClaim()), { message: /monitoring mode/ })
})
