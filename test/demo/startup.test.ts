import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { REDIS_URL } from '../helper.ts'
import { countPayments, createDatabase, createOrder, post, until } from './helper.ts'
import { freePort } from '../servers/port.ts'
import { startServer } from './process.ts'

const CARD = { method: 'card' }

t.test('two servers that start at the same moment on one empty database both serve it', async (t) => {
  const databaseUrl = await createDatabase(t)
  const servers = [1, 2].map(() => startServer(t, { DATABASE_URL: databaseUrl, REDIS_URL }))
  const [one, two] = await Promise.all(servers.map(server => server.listening()))
  const order = await createOrder(one ?? '')
  const key = randomUUID()
  const path = new URL(order).pathname
  const answers = await Promise.all(Array.from({ length: 100 }, (_, i) =>
    post(`${i % 2 === 0 ? one : two}${path}/pay`, CARD, { key })))
  const paid = answers.filter(({ status }) => status === 200)
  t.ok(paid.length >= 1)
  t.equal(new Set(paid.map(({ text }) => text)).size, 1)
  t.equal(paid.filter(({ replayed }) => !replayed).length, 1)
  t.ok(answers.every(({ status, headers }) => status === 200 || (status === 409 && headers.has('retry-after'))))
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('a server that cannot use its settings names them and ends', async (t) => {
  const server = startServer(t, { PORT: 'web', REDIS_URL: 'localhost' })
  t.equal(await server.ended, 1)
  t.match(server.stderr(), /^Cannot start\..*\nPORT must be .*\nREDIS_URL must be .*\n$/)
  t.equal(server.stdout(), '')
})

t.test('a server that cannot reach its database says so without the password, and ends', async (t) => {
  const port = await freePort()
  const server = startServer(t, { DATABASE_URL: `postgres://app:hunter2@127.0.0.1:${port}/payments` })
  t.equal(await server.ended, 1)
  t.match(server.stdout(), `Postgres at 127.0.0.1:${port}/payments`)
  t.match(server.stderr(), /^Cannot start\. .*ECONNREFUSED/)
  t.notMatch(server.stdout() + server.stderr(), 'hunter2')
})

t.test('a server whose port is taken says so and ends', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await until(() => taken.listening)
  const { port } = taken.address() as AddressInfo
  const server = startServer(t, { PORT: String(port), DATABASE_URL: await createDatabase(t) })
  t.equal(await server.ended, 1)
  t.match(server.stderr(), `Cannot start. listen EADDRINUSE: address already in use 127.0.0.1:${port}`)
})
