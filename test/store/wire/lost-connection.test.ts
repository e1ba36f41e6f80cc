import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { Proxy } from '../../chaos/proxy.ts'
import { build, newPrefix, until } from '../../helper.ts'
import { PROJECT } from '../../project.ts'
import { aClaim, ID, openStore, own } from '../harness.ts'
import { ownRedis } from '../own-redis.ts'
import type { OwnRedis } from '../own-redis.ts'
import { answer, connected, streamOf } from './clients.ts'
import type { ClientOptions } from './clients.ts'

interface Line {
  server: OwnRedis
  proxy: Proxy
  redis: Redis
}

/** A client of a Redis of its own, through a proxy that breaks as a network does. */
async function line (t: Test, options: ClientOptions = {}): Promise<Line> {
  const server = await ownRedis(t)
  const proxy = await Proxy.listen(() => server.port)
  t.teardown(() => proxy.close())
  const redis = await connected(t, { retryStrategy: () => 20, ...options }, `redis://127.0.0.1:${proxy.port}`)
  return { server, proxy, redis }
}

t.test('commands that wait for the end of the turn when the connection breaks use the next one', async (t) => {
  const { redis } = await line(t)
  const store = openStore(t, redis, 'idem:')
  const claims = ['a', 'b', 'c'].map(id => store.claim(id, aClaim()))
  streamOf(redis).destroy()
  t.match(await Promise.all(claims), [1, 1, 1].map(attempt => ({ state: 'claimed', attempt })))
  t.match(await store.claim('d', aClaim()), { state: 'claimed' })
})

t.test('commands without an answer when the connection breaks are sent again, byte by byte', async (t) => {
  const { server, proxy, redis } = await line(t)
  const store = openStore(t, redis, 'idem:')
  const bodies = [Buffer.from([0, 13, 10, 255]), 'text ✓ \ud83d', 'large €'.repeat(10_000)]
  const owned = await Promise.all(bodies.map((_, i) => own(store, aClaim(), `record-${i}`)))
  await store.complete(ID, await own(store), answer('loads the script'))
  proxy.stall()
  const completed = bodies.map((body, i) => store.complete(`record-${i}`, owned[i] as typeof owned[0], answer(body)))
  await new Promise(setImmediate)
  proxy.cut()
  await until(() => redis.status !== 'ready', 'a broken connection')
  proxy.heal()
  t.strictSame(await Promise.all(completed), [true, true, true])
  for (const [i, body] of bodies.entries()) {
    const stored = await server.admin.getBuffer(`idem:record-${i}`)
    t.ok(stored?.subarray(-Buffer.byteLength(body)).equals(Buffer.from(body as string)))
  }
})

t.test('an answer that was lost on its way: the claim is sent again, and is granted once', async (t) => {
  const { server, redis } = await line(t)
  const store = openStore(t, redis, 'idem:')
  const stream = streamOf(redis)
  // The command reaches Redis, and the answer does not reach the client.
  stream.removeAllListeners('data')
  const claim = store.claim(ID, aClaim())
  await until(async () => await server.admin.exists(`idem:${ID}`) === 1, 'the record')
  stream.destroy()
  t.match(await claim, { state: 'claimed', attempt: 1 })
})

t.test('a client that does not send again (autoResendUnfulfilledCommands: false) goes on with the next', async (t) => {
  const { proxy, redis } = await line(t, { autoResendUnfulfilledCommands: false })
  const { app, listen } = await build(t, { redis, keyPrefix: newPrefix(), storeTimeout: 100 })
  app.post('/pay', { config: { idempotency: true } }, async () => ({ paid: true }))
  const { post } = await listen()
  proxy.stall()
  const refused = post('/pay', 'first')
  await until(() => (redis as unknown as Queue).commandQueue.length > 0, 'a command without an answer')
  proxy.cut()
  t.equal((await refused).status, 503)
  proxy.heal()
  await until(() => redis.status === 'ready')
  t.equal((await post('/pay', 'second')).status, 200)
})

interface Queue {
  commandQueue: { length: number }
}

t.test('a client that gives up (maxRetriesPerRequest) rejects what waits, and works when Redis is back', async (t) => {
  const { proxy, redis } = await line(t, { maxRetriesPerRequest: 0 })
  const store = openStore(t, redis, 'idem:')
  proxy.stall()
  const claim = store.claim(ID, aClaim())
  await new Promise(setImmediate)
  proxy.cut()
  await t.rejects(claim, { message: /max retries per request/ })
  proxy.heal()
  await until(() => redis.status === 'ready')
  t.match(await store.claim(ID, aClaim()), { state: 'claimed' })
})

for (const how of ['quit', 'disconnect'] as const) {
  t.test(`commands that were sent in the turn of ${how}() reach Redis, and all end`, async (t) => {
    const { server, redis } = await line(t)
    const store = openStore(t, redis, 'idem:')
    const claims = ['a', 'b', 'c'].map(id => store.claim(id, aClaim()))
    const end = once(redis, 'end')
    const closed = redis[how]()
    const results = await Promise.allSettled(claims)
    await closed
    await end
    if (how === 'quit') t.ok(results.every(({ status }) => status === 'fulfilled'))
    await until(async () => await server.admin.exists('idem:a', 'idem:b', 'idem:c') === 3, 'the records')
  })
}

t.test('an app that closes in the turn of a request stores its answer first', async (t) => {
  const { server, redis } = await line(t)
  const { app } = await build(t, { redis, keyPrefix: 'idem:', closeTimeout: 60_000 })
  let closed: Promise<void> | undefined
  app.post('/pay', { config: { idempotency: true } }, async () => {
    closed = app.close()
    return { paid: true }
  })
  await app.ready()
  const paid = app.inject({ method: 'POST', url: '/pay', headers: { 'idempotency-key': 'k' }, payload: {} })
  t.equal((await paid).statusCode, 200)
  await closed
  await redis.quit()
  const [key = ''] = await server.admin.keys('idem:*')
  t.match(await server.admin.get(key), /\{"paid":true\}$/)
})

t.test('a command that timed out (commandTimeout) does not shift the answers of those behind it', async (t) => {
  const { proxy, redis } = await line(t, { commandTimeout: 100 })
  const store = openStore(t, redis, 'idem:')
  proxy.stall()
  const late = [store.claim('a', aClaim()), store.claim('b', aClaim())]
  for (const claim of late) await t.rejects(claim, { message: 'Command timed out' })
  redis.options.commandTimeout = 60_000
  const after = [redis.echo('1'), store.find('nothing'), redis.echo('2'), store.claim('c', aClaim()), redis.echo('3')]
  proxy.heal()
  t.match(await Promise.all(after), ['1', null, '2', { state: 'claimed' }, '3'])
})

t.test('bytes that arrive one by one, in both directions, make the same answers', async (t) => {
  const { redis } = await line(t)
  const store = openStore(t, redis, 'idem:')
  const stream = streamOf(redis)
  const [listener] = stream.listeners('data') as Array<(data: Buffer) => void>
  stream.removeAllListeners('data')
  stream.on('data', (data: Buffer) => {
    for (const byte of data) listener?.(Buffer.from([byte]))
  })
  const owned = await own(store)
  t.equal(await store.complete(ID, owned, answer('text ✓')), true)
  const found = await store.claim(ID, aClaim())
  t.equal(found.state === 'settled' && String(found.outcome.response?.body), 'text ✓')
})

t.test('a process with the plugin ends by itself when its clients are closed: no timer is left', async (t) => {
  const script = `
    import { Redis } from 'ioredis'
    import { RedisStore } from './plugin/store/redis.ts'
    const redis = new Redis(process.env.URL, { commandTimeout: 600000 })
    const store = new RedisStore(redis, { keyPrefix: 'idem:', connectTimeout: 600000 })
    const claim = { owner: 'o'.repeat(18), fingerprint: 'f'.repeat(43), lease: 1000, retention: 1000, takeOver: true }
    const result = await store.claim('a', claim)
    await store.complete('a', { ...claim, attempt: 1 }, { statusCode: 200, response: { headers: [], body: 'x' } })
    store.close()
    await redis.quit()
    console.log(result.state, process.getActiveResourcesInfo().filter(name => name === 'Timeout').length)
  `
  const { url } = await ownRedis(t)
  const child = spawn(process.execPath, [
    `--import=${join(PROJECT, 'test/typescript/register.mjs')}`, '--input-type=module', '--eval', script
  ], { cwd: PROJECT, env: { ...process.env, URL: url }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
  const [code] = await once(child, 'close') as [number]
  t.equal(code, 0)
  t.equal(output, 'claimed 0\n')
})
