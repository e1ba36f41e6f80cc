import { randomUUID } from 'node:crypto'
import t from 'tap'
import { ALICE, createDatabase, createOrder, idOf, post, request, startApp } from './helper.ts'

const { url } = await startApp(t, { databaseUrl: await createDatabase(t) })

t.test('what a route does not take is refused with the place of the mistake, and claims no key', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  const cases: Array<[path: string, body: object, where: string]> = [
    ['/orders', { amount: 0, currency: 'EUR' }, '/amount'],
    ['/orders', { amount: 1.5, currency: 'EUR' }, '/amount'],
    ['/orders', { amount: '100', currency: 'EUR' }, '/amount'],
    ['/orders', { amount: Number.MAX_SAFE_INTEGER + 1, currency: 'EUR' }, '/amount'],
    ['/orders', { amount: 100, currency: 'eur' }, '/currency'],
    ['/orders', { amount: 100, currency: 'EUR', price: 1 }, ''],
    [`/orders/${idOf(order)}/pay`, { method: 'cash' }, '/method'],
    [`/orders/${idOf(order)}/refund`, { reason: '' }, '/reason'],
    ['/orders/7/pay', { method: 'card' }, '/id']
  ]
  for (const [path, body, where] of cases) {
    const { status, json, headers } = await post(url + path, body, { key })
    const expected = { status: 400, json: { code: 'INVALID_REQUEST', errors: [{ path: where }] } }
    t.match({ status, json }, expected, `${path} ${JSON.stringify(body)}`)
    t.equal(headers.get('content-type'), 'application/problem+json; charset=utf-8')
  }
  t.equal((await post(`${url}/orders`, { amount: 100, currency: 'EUR' }, { key })).status, 201)
})

t.test('what is no JSON, too long or not here is a problem of the same form', async (t) => {
  const headers = {
    authorization: `Bearer ${ALICE}`,
    'content-type': 'application/json',
    'idempotency-key': randomUUID()
  }
  const send = (body: string, more = {}) => request(`${url}/orders`, {
    method: 'POST',
    headers: { ...headers, ...more },
    body
  })
  const problem = { type: 'about:blank', retryable: false }
  t.match((await send('{')).json, { ...problem, status: 400, title: 'Bad Request' })
  t.match((await send('x'.repeat(20_000))).json, { ...problem, status: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' })
  t.match((await send('x', { 'content-type': 'text/csv' })).json, { ...problem, status: 415 })
  t.match((await request(`${url}/nowhere?secret=1`, {})).json, {
    ...problem,
    status: 404,
    code: 'NOT_FOUND',
    detail: 'There is no GET /nowhere.'
  })
})
