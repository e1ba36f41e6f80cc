import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import t from 'tap'
import { build, gate, lookAfterLeasesOften, until } from './helper.ts'

/** Longer than any machine is busy. */
const LEASE = 60_000

/** A request on a socket of its own, which can be cut at any moment. */
async function send (url: string, path: string, key: string, body = '{"amount":1}'): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: x\r\nidempotency-key: ${key}\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`
  )
  return socket
}

for (const style of ['async', 'callback']) {
  t.test(`a client that leaves while the handler runs gets the stored answer on its return (${style})`, async (t) => {
    const { app, listen } = await build(t)
    const finish = gate()
    let runs = 0
    let left = false
    app.post('/x', { config: { idempotency: true } }, style === 'async'
      ? async (request) => {
        runs++
        request.raw.socket.once('close', () => { left = true })
        await finish.opened
        return { charged: runs }
      }
      : (request, reply) => {
          runs++
          request.raw.socket.once('close', () => { left = true })
          void finish.opened.then(() => reply.send({ charged: runs }))
        })
    const client = await listen()
    const socket = await send(client.url, '/x', 'k')
    await until(() => runs === 1)
    socket.destroy()
    await until(() => left, 'the server seeing the client leave')
    finish.open()
    await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'settled')
    const retry = await client.post('/x', 'k', { amount: 1 })
    t.equal(retry.status, 200)
    t.equal(retry.replayed, true)
    t.same(retry.json, { charged: 1 })
    t.equal(runs, 1)
  })
}

t.test('a client that leaves before its claim is answered has its request carried out once', async (t) => {
  const { app, listen } = await build(t)
  const sockets: Socket[] = []
  app.addHook('preHandler', async (request) => {
    sockets.push(request.raw.socket)
    request.raw.socket.destroy()
  })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => ({ charged: ++runs }))
  const client = await listen()
  await send(client.url, '/x', 'k')
  await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'settled')
  t.equal(runs, 1)
  t.equal(sockets.length, 1)
})

/**
 * An `onSend` hook that stops in the answers that `stops` selects. `left` says whether the client of the answer that it
 * stopped in has left.
 */
function stopInAnswer (
  app: FastifyInstance,
  stops: (request: FastifyRequest, reply: FastifyReply) => boolean
): { stopped: Promise<void>, left: () => boolean, proceed: () => void } {
  const stopped = gate()
  const proceed = gate()
  let left = false
  app.addHook('onSend', async (request, reply, payload) => {
    if (stops(request, reply)) {
      request.raw.socket.once('close', () => { left = true })
      stopped.open()
      await proceed.opened
    }
    return payload
  })
  return { stopped: stopped.opened, left: () => left, proceed: proceed.open }
}

t.test('a client that leaves in the middle of a replay never causes a second run', async (t) => {
  const { app, listen } = await build(t)
  const answer = stopInAnswer(app, ({ idempotency }) => idempotency?.replayed === true)
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => ({ charged: ++runs }))
  const client = await listen()
  await client.post('/x', 'k', { amount: 1 })
  const socket = await send(client.url, '/x', 'k')
  await answer.stopped
  socket.destroy()
  await until(answer.left)
  answer.proceed()
  const third = await client.post('/x', 'k', { amount: 1 })
  t.same(third.json, { charged: 1 })
  t.equal(third.replayed, true)
  t.equal(runs, 1)
})

t.test('a client that leaves while it is refused never causes a run', async (t) => {
  const { app, listen } = await build(t)
  const answer = stopInAnswer(app, (_request, reply) => reply.statusCode === 422)
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => ({ charged: ++runs }))
  const client = await listen()
  await client.post('/x', 'k', { amount: 1 })
  const socket = await send(client.url, '/x', 'k', '{"amount":2}')
  await answer.stopped
  socket.destroy()
  await until(answer.left)
  answer.proceed()
  t.equal((await client.post('/x', 'k', { amount: 2 })).status, 422)
  t.equal(runs, 1)
})

t.test('a handler that gives up as its client left stores no empty 200: maxExecution frees the key', async (t) => {
  const { app, listen, passTime } = await build(t, { lease: LEASE, maxExecution: LEASE })
  lookAfterLeasesOften(app)
  const attempts: number[] = []
  let gaveUp = false
  app.post('/x', { config: { idempotency: true } }, async (request, reply) => {
    const attempt = request.idempotency?.attempt ?? 0
    attempts.push(attempt)
    if (attempt > 1) return { charged: true }
    // What many handlers do: wait for a reply that something else will send.
    await once(request.raw.socket, 'close')
    gaveUp = true
    await reply
  })
  const client = await listen()
  const socket = await send(client.url, '/x', 'k')
  await until(() => attempts.length === 1)
  socket.destroy()
  await until(() => gaveUp)
  await passTime(LEASE)
  await until(async () => (await client.post('/x', 'k', { amount: 1 })).status === 200, 'the take-over')
  const replay = await client.post('/x', 'k', { amount: 1 })
  t.same(replay.json, { charged: true })
  t.same(attempts, [1, 2])
})
