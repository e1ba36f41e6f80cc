import { randomUUID } from 'node:crypto'
import pg from 'pg'
import t from 'tap'
import { startEmbeddedDatabase } from '../../demo-app/db/embedded.ts'
import { countPayments, createOrder, get, idOf, post, startApp } from './helper.ts'

const CARD = { method: 'card' }

const database = await startEmbeddedDatabase()
t.teardown(() => database.close())
const { app, url } = await startApp(t, { databaseUrl: database.url, embedded: true, redis: null })

t.test('on the embedded database a hundred payments with different keys charge once', async (t) => {
  const order = await createOrder(url)
  const answers = await Promise.all(Array.from({ length: 100 }, () => post(`${order}/pay`, CARD)))
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  const refused = answers.filter(({ status, json }) =>
    status === 409 && ['paying', 'paid'].includes(String(json.orderStatus)))
  t.equal(refused.length, 99)
  t.equal(await countPayments(database.url, order), 1)
  t.equal(app.pg.pool.totalCount, 4, 'several connections took part')
})

t.test('in memory a hundred payments with one key run once, and duplicates get the same bytes', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const answers = await Promise.all(Array.from({ length: 100 }, () => post(`${order}/pay`, CARD, { key })))
  t.equal(answers.filter(({ status, replayed }) => status === 200 && !replayed).length, 1)
  t.ok(answers.every(({ status }) => status === 200 || status === 409))
  t.ok((await post(`${order}/pay`, CARD, { key })).replayed)
  t.equal(await countPayments(database.url, order), 1)
})

t.test('customers who look while others pay each see their own order', async (t) => {
  const orders = await Promise.all(Array.from({ length: 20 }, () => createOrder(url)))
  const answers = await Promise.all(orders.flatMap(order => [get(order), post(`${order}/pay`, CARD), get(order)]))
  answers.forEach(({ status, json }, i) => {
    const id = idOf(orders[Math.floor(i / 3)] ?? '')
    t.match({ status, json }, { status: 200, json: i % 3 === 1 ? { orderId: id } : { id } })
  })
})

t.test('connections to the embedded database never get the answers of each other', async (t) => {
  const pool = new pg.Pool({ connectionString: database.url, max: 8 })
  t.teardown(() => pool.end())
  const seen = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    if (i % 4 === 0) {
      const client = await pool.connect()
      await client.query('BEGIN')
      const { rows } = await client.query<{ n: number }>('SELECT $1::int AS n', [i])
      await client.query('COMMIT')
      client.release()
      return rows[0]?.n
    }
    // The statements have different parameters, so that a mix-up is an error or a wrong number.
    const { rows } = await pool.query<{ n: number }>(i % 4 === 1
      ? { text: 'SELECT $1::int AS n', values: [i] }
      : { text: 'SELECT $1::int - $2::int AS n', values: [i + 7, 7] })
    return rows[0]?.n
  }))
  t.same(seen, seen.map((_, i) => i))
})

t.test('a connection that breaks in the middle of a transaction is rolled back, and the others go on', async (t) => {
  const order = await createOrder(url)
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => {})
  await client.connect()
  await client.query('BEGIN')
  await client.query('UPDATE orders SET reference = $2 WHERE id = $1', [idOf(order), 'never'])
  const meanwhile = get(order)
  client.connection.stream.destroy()
  t.match((await meanwhile).json, { id: idOf(order), reference: null })
  t.equal((await post(`${order}/pay`, CARD)).status, 200)
})

t.test('a statement that fails leaves its connection and the others usable', async (t) => {
  const pool = new pg.Pool({ connectionString: database.url, max: 4 })
  t.teardown(() => pool.end())
  const outcomes = await Promise.allSettled(Array.from({ length: 40 }, (_, i) =>
    pool.query('SELECT 10 / $1::int AS n', [i % 2])))
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 20)
  t.equal((await get(await createOrder(url))).status, 200)
})
