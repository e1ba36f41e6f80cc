import { randomUUID } from 'node:crypto'
import t from 'tap'
import { REDIS_URL } from '../helper.ts'
import {
  countPayments,
  createDatabase,
  createOrder,
  get,
  holdOrder,
  idOf,
  post,
  request,
  startApp,
  until
} from './helper.ts'
import { startServer } from './process.ts'

const CARD = { method: 'card' }

t.test('a server that is told to stop in the middle of a payment finishes it, answers, and ends well', async (t) => {
  const databaseUrl = await createDatabase(t)
  const server = startServer(t, { DATABASE_URL: databaseUrl, REDIS_URL })
  const order = await createOrder(await server.listening())
  const held = await holdOrder(t, databaseUrl, order)
  const key = randomUUID()
  const running = post(`${order}/pay`, CARD, { key })
  await held.waitedFor(1)
  server.kill('SIGTERM')
  await until(() => server.stdout().includes('"signal":"SIGTERM"'), 'the signal has arrived')
  await until(() => get(order).then(({ status }) => status === 503, () => true), 'nobody else is served')
  await held.letGo()
  const paid = await running
  t.equal(paid.status, 200)
  t.equal(await server.ended, 0)
  t.equal(server.stderr(), '')

  const { url } = await startApp(t, { databaseUrl, idempotency: { keyPrefix: 'idem:' } })
  const retry = await post(`${url}/orders/${idOf(order)}/pay`, CARD, { key })
  t.ok(retry.replayed, 'the answer was kept before the server ended')
  t.equal(retry.text, paid.text)
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('without settings the server says what it runs on and what to try, serves it, stops at Ctrl-C', async (t) => {
  const server = startServer(t)
  const url = await server.listening()
  const [first, second] = server.stdout().split('\n')
  t.match(first, /Orders and payments are kept in an embedded Postgres .* gone when this process ends/)
  t.match(second, /Idempotency keys are kept in memory: good for one process, gone when it ends/)
  await until(() => server.stdout().includes('\ndone\n'), 'all of it is printed')
  t.match(server.stdout(), `URL=${url}; TOKEN='Authorization: Bearer alice-demo-token'`)

  const order = await createOrder(url)
  const key = randomUUID()
  const first200 = await post(`${order}/pay`, CARD, { key })
  t.equal((await post(`${order}/pay`, CARD, { key })).text, first200.text)
  t.match(await request(`${url}/health`, {}), {
    status: 200,
    json: { status: 'ok', database: { kind: 'embedded', up: true }, idempotency: { kind: 'memory', up: true } }
  })
  server.kill('SIGINT')
  t.equal(await server.ended, 0)
  t.equal(server.stderr(), '')
})
