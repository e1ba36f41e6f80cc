import { randomUUID } from 'node:crypto'
import t from 'tap'
import {
  ALICE,
  BOB,
  countPayments,
  createDatabase,
  createOrder,
  get,
  idOf,
  post,
  query,
  request,
  startApp
} from './helper.ts'

const databaseUrl = await createDatabase(t)
const { app, url } = await startApp(t, { databaseUrl })

t.test('a request without a token is asked for one', async (t) => {
  const answer = await request(`${url}/orders/${randomUUID()}`, {})
  t.equal(answer.status, 401)
  t.equal(answer.headers.get('www-authenticate'), 'Bearer')
  t.equal(answer.headers.get('content-type'), 'application/problem+json; charset=utf-8')
  t.match(answer.json, { status: 401, title: 'Unauthorized', code: 'TOKEN_MISSING', retryable: false })
})

t.test('a token that nobody has is refused, and so is one in another scheme', async (t) => {
  const unknown = await get(`${url}/orders/${randomUUID()}`, { token: 'mallory' })
  t.equal(unknown.status, 401)
  t.equal(unknown.headers.get('www-authenticate'), 'Bearer error="invalid_token"')
  const basic = await request(`${url}/orders/${randomUUID()}`, { headers: { authorization: `Basic ${ALICE}` } })
  t.equal(basic.status, 401)
  t.match(basic.json, { code: 'TOKEN_MISSING' })
})

t.test('a payment without a valid token claims no key: with the token the same key is a first use', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const before = app.idempotency.stats()
  t.equal((await post(`${order}/pay`, { method: 'card' }, { key, token: 'mallory' })).status, 401)
  t.equal(app.idempotency.stats().claimed, before.claimed)
  const paid = await post(`${order}/pay`, { method: 'card' }, { key })
  t.equal(paid.status, 200)
  t.notOk(paid.replayed)
})

t.test('a customer cannot see, pay or refund the order of another, nor learn that it exists', async (t) => {
  const order = await createOrder(url, { token: ALICE })
  const missing = { status: 404, json: { code: 'ORDER_NOT_FOUND' } }
  t.equal((await get(order, { token: ALICE })).status, 200)
  t.match(await get(order, { token: BOB }), missing)
  t.match(await post(`${order}/pay`, { method: 'card' }, { token: BOB }), missing)
  t.match(await post(`${order}/refund`, {}, { token: BOB }), missing)
  const { json: absent } = await get(`${url}/orders/${randomUUID()}`, { token: BOB })
  t.same((await get(order, { token: BOB })).json, absent)
  t.equal(await countPayments(databaseUrl, order), 0)
})

t.test('the same key of two customers is two operations', async (t) => {
  const key = randomUUID()
  const body = { amount: 100, currency: 'USD' }
  const alices = await post(`${url}/orders`, body, { token: ALICE, key })
  const bobs = await post(`${url}/orders`, body, { token: BOB, key })
  t.equal(alices.status, 201)
  t.equal(bobs.status, 201)
  t.notOk(bobs.replayed)
  t.not(bobs.json.id, alices.json.id)
  t.equal((await post(`${url}/orders`, body, { token: BOB, key })).text, bobs.text, "bob's retry gets bob's order")
})

t.test('a token that was renewed between a request and its retry does not make it a second order', async (t) => {
  const key = randomUUID()
  const body = { amount: 250, currency: 'EUR' }
  const first = await post(`${url}/orders`, body, { token: BOB, key })
  const swapTokens = 'UPDATE customers SET token_hash = sha256($1) WHERE name = \'bob\''
  await query(databaseUrl, swapTokens, ['bobs-new-token'])
  const retry = await post(`${url}/orders`, body, { token: 'bobs-new-token', key })
  await query(databaseUrl, swapTokens, [BOB])
  t.equal(retry.text, first.text)
  t.ok(retry.replayed)
})

t.test('the demo customers, whose tokens everybody knows, can be left out', async (t) => {
  const { url } = await startApp(t, { databaseUrl: await createDatabase(t), demoCustomers: false })
  t.equal((await get(`${url}/orders/${randomUUID()}`)).status, 401)
})

t.test('an order shows its customer what it is about, and nothing else', async (t) => {
  const order = await createOrder(url)
  const { json } = await get(order)
  t.match(json, { id: idOf(order), amount: 1999, currency: 'EUR', reference: null, status: 'pending' })
  t.same(Object.keys(json), ['id', 'amount', 'currency', 'reference', 'status', 'createdAt'])
})
