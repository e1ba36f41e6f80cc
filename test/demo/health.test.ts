import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { REDIS_URL } from '../helper.ts'
import {
  ALICE,
  connectRedis,
  createDatabase,
  createOrder,
  get,
  keepLog,
  post,
  request,
  startApp,
  until
} from './helper.ts'

/** A proxy in front of the database, whose connections can be cut. */
async function throughProxy (t: Test, databaseUrl: string) {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let open = true
  const server = createServer(socket => {
    if (!open) return socket.destroy()
    const upstream = connect(Number(target.port || 5432), target.hostname)
    socket.pipe(upstream).pipe(socket)
    for (const end of [socket, upstream]) {
      sockets.add(end)
      end.on('error', () => {}).on('close', () => {
        sockets.delete(end)
        socket.destroy()
        upstream.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await until(() => server.listening)
  t.teardown(() => server.close())
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cut () {
      open = false
      for (const socket of sockets) socket.destroy()
    },
    mend () { open = true }
  }
}

t.test('health says what the app runs on, to anybody', async (t) => {
  const { url } = await startApp(t, { databaseUrl: await createDatabase(t) })
  await until(async () => (await request(`${url}/health`, {})).json.status === 'ok', 'Redis is connected')
  t.match(await request(`${url}/health`, {}), {
    status: 200,
    json: { status: 'ok', database: { kind: 'postgres', up: true }, idempotency: { kind: 'redis', up: true } }
  })
})

t.test('without its database the app stays up and says so, and is well again when the database is back', async (t) => {
  const proxy = await throughProxy(t, await createDatabase(t))
  const { url } = await startApp(t, { databaseUrl: proxy.url })
  const order = await createOrder(url)
  proxy.cut()
  t.match(await request(`${url}/health`, {}), {
    status: 503,
    json: { status: 'down', database: { kind: 'postgres', up: false } }
  })
  t.match(await get(order), { status: 500, json: { code: 'INTERNAL_ERROR' } })
  proxy.mend()
  t.match(await request(`${url}/health`, {}), { status: 200, json: { database: { up: true } } })
  t.equal((await get(order)).status, 200)
})

t.test('a connection that is cut in the middle of a payment is an answer, not the end of the process', async (t) => {
  const proxy = await throughProxy(t, await createDatabase(t))
  const { url, app } = await startApp(t, { databaseUrl: proxy.url })
  const order = await createOrder(url)
  const client = await app.pg.connect()
  proxy.cut()
  await t.rejects(client.query('SELECT 1'))
  client.release(true)
  proxy.mend()
  t.equal((await post(`${order}/pay`, { method: 'card' })).status, 200)
})

t.test('without Redis orders can be read, and writes are refused rather than unprotected', async (t) => {
  const redis = connectRedis(t)
  const { url } = await startApp(t, { databaseUrl: await createDatabase(t), redis })
  const order = await createOrder(url)
  redis.disconnect()
  await until(() => redis.status === 'end')
  t.match(await request(`${url}/health`, {}), {
    status: 200,
    json: { status: 'degraded', idempotency: { kind: 'redis', up: false } }
  })
  t.equal((await get(order)).status, 200)
  t.match(await post(`${order}/pay`, { method: 'card' }), {
    status: 503,
    json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' }
  })
  t.match((await get(order)).json, { status: 'pending' })
})

t.test('the log says first what the app runs on, and never shows a password, a token or a key', async (t) => {
  const databaseUrl = new URL(await createDatabase(t))
  databaseUrl.password ||= 'hunter2'
  const log = keepLog()
  const { app, url } = await startApp(t, { databaseUrl: databaseUrl.href, logger: log.logger })
  const { hostname, port } = new URL(REDIS_URL)
  const [first, second] = log.text().split('\n')
  t.match(first, `Postgres at ${databaseUrl.hostname}:${databaseUrl.port || 5432}${databaseUrl.pathname}`)
  t.match(second, `Redis at ${hostname}:${port || 6379}`)

  const key = 'a-key-that-is-nobodys-business'
  const order = await createOrder(url)
  await post(`${order}/pay`, { method: 'card' }, { key })
  await post(`${order}/pay`, { method: 'card' }, { key })
  await post(`${order}/pay`, { method: 'wallet' }, { key })
  // Somebody who looks for a bug may log the headers one day.
  app.log.info({ headers: { authorization: `Bearer ${ALICE}`, 'idempotency-key': key } })
  t.match(log.text(), '"authorization":"[Redacted]","idempotency-key":"[Redacted]"')
  for (const secret of [ALICE, key, databaseUrl.password]) t.notMatch(log.text(), secret)
})
