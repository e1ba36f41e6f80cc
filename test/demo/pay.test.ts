import { randomUUID } from 'node:crypto'
import t from 'tap'
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
  ALICE
} from './helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'

const databaseUrl = await createDatabase(t)
// The provider's notifications do not arrive, because they would count as runs too.
const provider = { ...(await startSandboxProvider(t)).options, publicUrl: 'http://127.0.0.1:9' }
const { app, url } = await startApp(t, { databaseUrl, provider })

const CARD = { method: 'card' }

t.test('an order is created, found at its location, paid, and shows it', async (t) => {
  const created = await post(`${url}/orders`, { amount: 4200, currency: 'EUR', reference: 'invoice 7' })
  t.equal(created.status, 201)
  const order = url + (created.headers.get('location') ?? '')
  t.same((await get(order)).json, created.json)
  const paid = await post(`${order}/pay`, CARD)
  t.equal(paid.status, 200)
  t.match(paid.json, { orderId: created.json.id, amount: 4200, currency: 'EUR', status: 'paid' })
  t.same(Object.keys(paid.json), ['orderId', 'paymentId', 'amount', 'currency', 'status', 'paidAt'])
  t.match((await get(order)).json, { status: 'paid' })
})

t.test('a payment sent twice with the same key charges once, and both answers are the same bytes', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const first = await post(`${order}/pay`, CARD, { key })
  const second = await post(`${order}/pay`, CARD, { key })
  t.equal(first.status, 200)
  t.notOk(first.replayed)
  t.equal(second.status, 200)
  t.ok(second.replayed)
  t.equal(second.text, first.text)
  t.equal(second.headers.get('content-type'), first.headers.get('content-type'))
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('an order that is created twice with the same key is one order, at one location', async (t) => {
  const key = randomUUID()
  const first = await post(`${url}/orders`, { amount: 5, currency: 'JPY' }, { key })
  const second = await post(`${url}/orders`, { amount: 5, currency: 'JPY' }, { key })
  t.equal(second.status, 201)
  t.ok(second.replayed)
  t.equal(second.text, first.text)
  t.equal(second.headers.get('location'), first.headers.get('location'))
})

t.test('a hundred payments of one order with different keys: one charge, 99 answers with its status', async (t) => {
  const order = await createOrder(url)
  const answers = await Promise.all(Array.from({ length: 100 }, () => post(`${order}/pay`, CARD)))
  const refused = answers.filter(({ status }) => status !== 200)
  t.equal(refused.length, 99)
  for (const { status, json } of refused) {
    t.match({ status, json }, json.orderStatus === 'paying'
      ? { status: 409, json: { code: 'ORDER_IN_PROGRESS', retryable: true } }
      : { status: 409, json: { code: 'ORDER_NOT_PAYABLE', orderStatus: 'paid', retryable: false } })
  }
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('a hundred payments of one order with one key: one run, one charge, 409 or a replay for the rest', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const before = app.idempotency.stats().claimed
  const answers = await Promise.all(Array.from({ length: 100 }, () => post(`${order}/pay`, CARD, { key })))
  const paid = answers.filter(({ status }) => status === 200)
  t.equal(new Set(paid.map(({ text }) => text)).size, 1)
  for (const { status, headers, json } of answers.filter(({ status }) => status !== 200)) {
    t.match({ status, json }, { status: 409, json: { code: 'FST_IDEMPOTENCY_IN_PROGRESS' } })
    t.ok(headers.get('retry-after'))
  }
  t.equal(app.idempotency.stats().claimed, before + 1)
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('with onConflict "wait" all hundred get the receipt', async (t) => {
  const { url } = await startApp(t, { databaseUrl, idempotency: { onConflict: 'wait' } })
  const order = await createOrder(url)
  const key = randomUUID()
  const answers = await Promise.all(Array.from({ length: 100 }, () => post(`${order}/pay`, CARD, { key })))
  t.same([...new Set(answers.map(({ status }) => status))], [200])
  t.equal(new Set(answers.map(({ text }) => text)).size, 1)
  t.equal(answers.filter(({ replayed }) => !replayed).length, 1)
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('while a payment runs, its duplicate is told so and a payment with another key waits for it', async (t) => {
  const order = await createOrder(url)
  const held = await holdOrder(t, databaseUrl, order)
  const key = randomUUID()
  const running = post(`${order}/pay`, CARD, { key })
  await held.waitedFor(1)
  t.match(await post(`${order}/pay`, CARD, { key }), {
    status: 409,
    json: { code: 'FST_IDEMPOTENCY_IN_PROGRESS', retryable: true }
  })
  const other = post(`${order}/pay`, CARD)
  await held.waitedFor(2)
  await held.letGo()
  t.equal((await running).status, 200)
  t.match(await other, { status: 409, json: { orderStatus: /^(paying|paid)$/ } })
})

t.test('the same key with another body or for another order is refused, and the first answer stays', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const first = await post(`${order}/pay`, CARD, { key })
  const reused = { status: 422, json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' } }
  t.match(await post(`${order}/pay`, { method: 'wallet' }, { key }), reused)
  t.match(await post(`${await createOrder(url)}/pay`, CARD, { key }), reused)
  t.match(await post(`${order}/refund`, {}, { key }), reused)
  t.equal((await post(`${order}/pay`, CARD, { key })).text, first.text)
})

t.test('a refusal is an answer too: sent again, it is replayed', async (t) => {
  const key = randomUUID()
  const order = await createOrder(url)
  await post(`${order}/pay`, CARD)
  const refused = await post(`${order}/pay`, CARD, { key })
  const again = await post(`${order}/pay`, CARD, { key })
  t.equal(again.status, 409)
  t.ok(again.replayed)
  t.equal(again.text, refused.text)
  t.equal(again.headers.get('content-type'), 'application/problem+json; charset=utf-8')
})

t.test('a payment without a key does not run', async (t) => {
  const order = await createOrder(url)
  const answer = await request(`${order}/pay`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ALICE}`, 'content-type': 'application/json' },
    body: JSON.stringify(CARD)
  })
  t.match(answer, { status: 400, json: { code: 'FST_IDEMPOTENCY_KEY_MISSING' } })
  t.match((await get(order)).json, { status: 'pending' })
})

/** Removes the key from Redis, as if Redis had lost its data or the key had expired. */
async function forget (key: string, order: string): Promise<boolean> {
  const select = 'SELECT customer_id AS scope FROM orders WHERE id = $1'
  const { rows } = await app.pg.query<{ scope: string }>(select, [idOf(order)])
  return app.idempotency.forget(key, rows[0]?.scope ?? '')
}

t.test('when Redis has lost the key, a payment that is sent again charges once, with the same receipt', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const first = await post(`${order}/pay`, CARD, { key })
  t.ok(await forget(key, order))
  const retry = await post(`${order}/pay`, CARD, { key })
  t.ok(retry.replayed, 'by the journal')
  t.equal(retry.status, 200)
  t.equal(retry.text, first.text)
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('when Redis has lost the key, an order that is created again is the same order', async (t) => {
  const key = randomUUID()
  const body = { amount: 800, currency: 'EUR', reference: 'once' }
  const first = await post(`${url}/orders`, body, { key })
  const order = url + (first.headers.get('location') ?? '')
  await post(`${order}/pay`, CARD)
  t.ok(await forget(key, order))
  const retry = await post(`${url}/orders`, body, { key })
  t.equal(retry.status, 201)
  t.equal(retry.text, first.text)
  t.ok(await forget(key, order))
  t.match(await post(`${url}/orders`, { ...body, amount: 801 }, { key }), {
    status: 422,
    json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' }
  })
  await app.pg.query('DELETE FROM idempotency_journal')
  t.ok(await forget(key, order))
  t.equal((await post(`${url}/orders`, body, { key })).text, first.text, 'also when the journal has expired')
  t.ok(await forget(key, order))
  await app.pg.query('DELETE FROM idempotency_journal')
  t.match(await post(`${url}/orders`, { ...body, amount: 801 }, { key }), {
    status: 409,
    json: { code: 'OPERATION_EXISTS' }
  })
})
