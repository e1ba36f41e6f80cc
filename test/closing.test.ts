import { once } from 'node:events'
import { Agent, createServer, request as httpRequest } from 'node:http'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import idempotency from '../plugin/index.ts'
import { build, gate, holdRoute, lookAfterLeasesOften, MemoryStore, newPrefix, until } from './helper.ts'

// A deployment: the app is asked to close while there is work.

/** A client that gives up after it sent its request. */
async function sendAndLeave (url: string, key: string, isTaken: () => boolean): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    `POST /x HTTP/1.1\r\nhost: x\r\nidempotency-key: ${key}\r\ncontent-type: text/plain\r\n` +
      'content-length: 4\r\n\r\nbody'
  )
  await until(isTaken)
  socket.destroy()
}

const closing = new WeakSet<FastifyInstance>()

/** For `build`: records when the app begins to close. */
function noteClosing (app: FastifyInstance): void {
  app.addHook('preClose', async () => { closing.add(app) })
}

/** Asks the app to close, and resolves when it has begun to. */
async function beginClosing (app: FastifyInstance): Promise<{ closed: Promise<void> }> {
  const closed = app.close().then(() => {})
  await until(() => closing.has(app), 'the app closing')
  return { closed }
}

t.test('closing waits for a handler whose client has left, and its outcome is stored', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, closeTimeout: 60_000 }, noteClosing)
  const route = holdRoute(app)
  const { url } = await listen()
  await sendAndLeave(url, 'k', () => route.runs() === 1)
  const { closed } = await beginClosing(app)
  t.equal(app.idempotency.stats().running, 1)
  route.finish()
  await closed
  t.match(await app.idempotency.find('k', 'global'), { state: 'settled', statusCode: 200 })
})

t.test('closing renews the lease of what it waits for', async (t) => {
  const keyPrefix = newPrefix()
  const lease = 60_000
  const { app, listen, passTime } = await build(t, { keyPrefix, closeTimeout: 3_600_000, lease }, noteClosing)
  lookAfterLeasesOften(app)
  const route = holdRoute(app)
  const { url } = await listen()
  await sendAndLeave(url, 'k', () => route.runs() === 1)
  const other = await build(t, { keyPrefix, onConflict: 'reject' })
  const otherRoute = holdRoute(other.app)
  const client = await other.listen()
  const { closed } = await beginClosing(app)
  for (let passed = 0; passed < 3 * lease; passed += lease / 3) {
    await passTime(lease / 3)
    const leaseLeft = async (): Promise<number> => (await other.app.idempotency.find('k', 'global'))?.leaseLeft ?? 0
    await until(async () => await leaseLeft() > lease * 2 / 3, 'a renewal')
    t.equal((await client.post('/x', 'k', 'body')).status, 409)
  }
  route.finish()
  await closed
  t.match(await client.post('/x', 'k', 'body'), { text: 'done', replayed: true })
  t.equal(otherRoute.runs(), 0)
})

t.test('closing waits for the work of app.idempotency.run()', async (t) => {
  const { app } = await build(t, { store: new MemoryStore(), closeTimeout: 60_000 }, noteClosing)
  await app.ready()
  const finish = gate()
  const value = app.idempotency.run({ scope: 's', key: 'k' }, async () => {
    await finish.opened
    return 'done'
  })
  await until(() => app.idempotency.stats().running === 1)
  const { closed } = await beginClosing(app)
  finish.open()
  await closed
  t.equal(await value, 'done')
  t.equal((await app.idempotency.find('k', 's'))?.state, 'settled')
})

t.test('closing waits for an outcome that the store has yet to take', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, closeTimeout: 60_000 }, noteClosing)
  const complete = store.complete.bind(store)
  let takes = false
  store.complete = async (...args) => {
    if (!takes) throw new Error('gone')
    return complete(...args)
  }
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  t.equal((await (await listen()).post('/x', 'k')).text, 'done')
  t.equal(app.idempotency.stats().running, 1, 'it counts until the store has the outcome')
  const { closed } = await beginClosing(app)
  const failures = app.idempotency.stats().storeErrors
  await until(() => app.idempotency.stats().storeErrors > failures, 'another try')
  takes = true
  await closed
  t.equal(app.idempotency.stats().running, 0)
  t.equal((await app.idempotency.find('k', 'global'))?.state, 'settled')
})

t.test('a server that Fastify did not make listen is left to its owner', async (t) => {
  let server: Server | undefined
  const app = Fastify({
    serverFactory: (handler) => {
      server = createServer((request, response) => { handler(request, response) })
      return server
    }
  })
  await app.register(idempotency, { scope: 'global', store: new MemoryStore() })
  await app.ready()
  server?.listen(0, '127.0.0.1')
  await once(server as Server, 'listening')
  t.teardown(() => { server?.close() })
  await app.close()
  t.equal(server?.listening, true)
})

t.test('closing waits for longer than Fastify gives a preClose hook', async (t) => {
  const server = { pluginTimeout: 200 }
  const { app, listen } = await build(t, { store: new MemoryStore(), closeTimeout: 60_000, server }, noteClosing)
  const route = holdRoute(app)
  const { url } = await listen()
  await sendAndLeave(url, 'k', () => route.runs() === 1)
  const { closed } = await beginClosing(app)
  const began = performance.now()
  await until(() => performance.now() - began > 2 * server.pluginTimeout)
  t.equal(app.idempotency.stats().running, 1)
  route.finish()
  await closed
  t.equal((await app.idempotency.find('k', 'global'))?.state, 'settled')
})

t.test('closing waits for closeTimeout at most, and says in the log what it left', async (t) => {
  const { app, listen, logged } = await build(t, { store: new MemoryStore(), closeTimeout: 50 }, noteClosing)
  const route = holdRoute(app)
  const { url } = await listen()
  await sendAndLeave(url, 'k', () => route.runs() === 1)
  await app.close()
  t.equal(app.idempotency.stats().running, 1)
  t.ok(
    logged.some(({ level, msg }) => level === 50 && msg.includes('the app closes while this run still owns its key'))
  )
  route.finish()
})

t.test('those who wait for an owner in this process get its answer', async (t) => {
  const { app, listen } = await build(t, {
    onConflict: 'wait', waitTimeout: 60_000, closeTimeout: 60_000, server: { forceCloseConnections: 'idle' }
  }, noteClosing)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const held = Array.from({ length: 200 }, () => client.post('/x', 'k'))
  await until(() => app.idempotency.stats().waiting === 200)
  const { closed } = await beginClosing(app)
  route.finish()
  for (const answer of await Promise.all([owner, ...held])) {
    t.equal(answer.text, 'done')
    t.equal(answer.headers.get('connection'), 'close')
  }
  await closed
  t.equal(route.runs(), 1)
})

t.test('of those who wait for an owner that fails none begins to run while the app closes', async (t) => {
  const { app, listen } = await build(t, {
    onConflict: 'wait', waitTimeout: 60_000, closeTimeout: 60_000, server: { forceCloseConnections: 'idle' }
  }, noteClosing)
  const route = holdRoute(app, () => { throw new Error('failed') })
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const held = Array.from({ length: 5 }, () => client.post('/x', 'k'))
  await until(() => app.idempotency.stats().waiting === 5)
  const { closed } = await beginClosing(app)
  route.finish()
  t.equal((await owner).status, 500)
  for (const answer of await Promise.all(held)) t.equal(answer.json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
  await closed
  t.equal(route.runs(), 1)
})

t.test('an app closes although its clients keep their connections alive', async (t) => {
  const { app, listen } = await build(
    t,
    { store: new MemoryStore(), closeTimeout: 60_000, server: { forceCloseConnections: false } },
    noteClosing
  )
  const route = holdRoute(app)
  const { url } = await listen()
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const answered = new Promise<string | undefined>((resolve, reject) => {
    const sent = httpRequest(`${url}/x`, { agent, method: 'POST', headers: { 'idempotency-key': 'k' } }, (response) => {
      response.resume().on('end', () => resolve(response.headers.connection))
    })
    sent.on('error', reject).end()
  })
  await route.began()
  const { closed } = await beginClosing(app)
  route.finish()
  t.equal(await answered, 'close')
  await closed
})

t.test('an answer that is being stored when the app begins to close ends its connection too', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(
    t,
    { store, closeTimeout: 60_000, server: { forceCloseConnections: false } },
    noteClosing
  )
  const complete = store.complete.bind(store)
  const stored = gate()
  let storing = false
  store.complete = async (...args) => {
    storing = true
    await stored.opened
    return complete(...args)
  }
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  const answer = client.post('/x', 'k')
  await until(() => storing)
  const { closed } = await beginClosing(app)
  stored.open()
  t.equal((await answer).headers.get('connection'), 'close')
  await closed
})

t.test('closing waits for a handler that has lost its key meanwhile', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, closeTimeout: 60_000, lease: 600 }, noteClosing)
  const order: string[] = []
  const route = holdRoute(app, () => order.push('ended'))
  const { url } = await listen()
  await sendAndLeave(url, 'k', () => route.runs() === 1)
  await app.idempotency.forget('k', 'global')
  const other = await build(t, { store })
  other.app.post('/x', { config: { idempotency: true } }, async () => 'done')
  t.equal((await (await other.listen()).post('/x', 'k', 'body')).text, 'done')
  await until(() => app.idempotency.stats().leasesLost === 1, 'the loss')
  const { closed } = await beginClosing(app)
  void closed.then(() => { order.push('closed') })
  await until(() => !app.server.listening)
  route.finish()
  await closed
  await until(() => order.length === 2)
  t.same(order, ['ended', 'closed'])
})
