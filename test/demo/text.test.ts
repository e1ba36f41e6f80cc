import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import t from 'tap'
import { sign } from '../../sandbox-provider/signature.ts'
import { ALICE, createDatabase, createOrder, get, post, query, request, startApp } from './helper.ts'
import { PROVIDER_KEYS } from '../sandbox-provider/helper.ts'

const databaseUrl = await createDatabase(t)
const { url } = await startApp(t, { databaseUrl })

const NUL = 'a\u0000b'
const HALF_A_PAIR = 'a\ud83db'
const WHAT = 'must be text without U+0000 and without half of a surrogate pair: the database cannot keep these'

t.test('text that Postgres cannot keep is refused by the name of its member, and claims no key', async (t) => {
  const order = await createOrder(url)
  const key = randomUUID()
  for (const text of [NUL, HALF_A_PAIR, '\u0000', '\udc00', '\ude00\ud83d']) {
    for (const [path, body, member] of [
      [`${url}/orders`, { amount: 100, currency: 'EUR', reference: text }, '/reference'],
      [`${order}/refund`, { reason: text }, '/reason']
    ] as const) {
      const { status, json } = await post(path, body, { key })
      t.match({ status, json }, {
        status: 400,
        json: { code: 'INVALID_REQUEST', retryable: false, errors: [{ in: 'body', path: member, detail: WHAT }] }
      }, `${member} ${JSON.stringify(text)}`)
    }
  }
  t.equal((await post(`${url}/orders`, { amount: 100, currency: 'EUR' }, { key })).status, 201)
})

t.test('all other text comes back from the database as it was sent, up to 140 characters of any kind', async (t) => {
  for (const text of [
    '\u0001\u001f\u007f\u0085',
    '\ufeffé\u0301',
    '\ufffe\uffff\ufffd',
    '\u2028\u202e',
    "'; DROP TABLE orders; --\\",
    '💸'.repeat(140),
    ' '
  ]) {
    const { status, headers, json } = await post(`${url}/orders`, { amount: 100, currency: 'EUR', reference: text })
    t.match({ status, json }, { status: 201, json: { reference: text } })
    t.match((await get(url + headers.get('location'))).json, { reference: text })
  }
  const tooLong = await post(`${url}/orders`, { amount: 100, currency: 'EUR', reference: '💸'.repeat(141) })
  t.match(tooLong, { status: 400, json: { errors: [{ path: '/reference' }] } })
})

t.test('amounts are taken exactly or refused, up to the largest', async (t) => {
  const largest = await post(`${url}/orders`, { amount: Number.MAX_SAFE_INTEGER, currency: 'EUR' })
  t.match(largest, { status: 201, json: { amount: Number.MAX_SAFE_INTEGER } })
  t.match((await get(url + largest.headers.get('location'))).json, { amount: Number.MAX_SAFE_INTEGER })
  for (const amount of [
    '9007199254740992',
    '1e400',
    '-1',
    '-0',
    '0.5',
    '1e16',
    'null',
    '"1"',
    '[1]',
    '9223372036854775808'
  ]) {
    const { status, json } = await send(`{"amount":${amount},"currency":"EUR"}`)
    t.match({ status, json }, { status: 400, json: { errors: [{ path: '/amount' }] } }, amount)
  }
})

t.test('a body that is not UTF-8 is refused, not kept with other letters', async (t) => {
  const latin1 = Buffer.from('{"amount":100,"currency":"EUR","reference":"M\u00fcller"}', 'latin1')
  t.match(await send(latin1), { status: 400, json: { code: 'BODY_NOT_UTF8', retryable: false } })
  // These bytes are also valid UTF-8, for another letter.
  const ambiguous = Buffer.from('{"amount":100,"currency":"EUR","reference":"\u00c3\u00bc"}', 'latin1')
  for (const charset of ['iso-8859-1', '"latin1"', 'utf-16']) {
    const answer = await send(ambiguous, `application/json; charset=${charset}`)
    t.match(answer, { status: 415, json: { code: 'CHARSET_UNSUPPORTED', retryable: false } }, charset)
  }
  const body = Buffer.from('\ufeff{"amount":100,"currency":"EUR","reference":"Müller"}')
  for (const type of ['application/json; charset=UTF-8', 'Application/JSON;charset="utf-8"', 'application/json']) {
    t.match(await send(body, type), { status: 201, json: { reference: 'Müller' } }, type)
  }
  for (const nothing of ['', '\ufeff']) t.equal((await send(nothing)).status, 400, 'no JSON')
})

t.test('a notification with text that Postgres cannot keep is refused, although it is signed', async (t) => {
  const before = await query(databaseUrl, 'SELECT id, status FROM payments')
  for (const [name, text] of [
    ['trade_no', NUL],
    ['notify_id', NUL],
    ['out_trade_no', NUL],
    ['status', NUL],
    ['amount', NUL]
  ] as const) {
    const form: Record<string, string> = {
      notify_id: randomUUID(),
      trade_no: 'T1',
      out_trade_no: randomUUID(),
      amount: '1999',
      status: 'charged',
      sign_type: 'RSA2',
      [name]: text
    }
    const answer = await request(`${url}/payments/notify`, {
      method: 'POST',
      body: new URLSearchParams({ ...form, sign: sign(form, PROVIDER_KEYS.privateKey) })
    })
    t.match(answer, { status: 400, json: { code: 'INVALID_REQUEST', errors: [{ path: `/${name}` }] } }, name)
  }
  t.same(await query(databaseUrl, 'SELECT id, status FROM payments'), before)
})

t.test('the id of an order, the token and the key may hold anything: no answer is a 500', async (t) => {
  for (const id of [
    '%00',
    'a%00b',
    '%F0%9F%92',
    '%zz',
    '%ED%A0%BD',
    `${randomUUID()}%00`,
    'x'.repeat(5_000),
    '%2e%2e',
    '{00000000-0000-0000-0000-000000000000}'
  ]) {
    for (const path of [`/orders/${id}`, `/orders/${id}/pay`, `/orders/${id}/refund`]) {
      const answer = path.endsWith(id) ? await get(url + path) : await post(url + path, { method: 'card' })
      const { status, headers, json } = answer
      t.match({ status, json }, { status: Number, json: { status, code: String, retryable: false } }, path.slice(0, 60))
      t.ok(status >= 400 && status < 500, `${status} ${path.slice(0, 60)}`)
      t.equal(headers.get('content-type'), 'application/problem+json; charset=utf-8')
    }
  }
  const headers = { authorization: `Bearer ${ALICE}`, 'content-type': 'application/json' }
  const body = '{"amount":100,"currency":"EUR"}'
  for (const token of ['\u00ff', 'a\tb', '=', 'x'.repeat(8_000)]) {
    const withToken = { ...headers, authorization: `Bearer ${token}` }
    t.match(await request(`${url}/orders`, { method: 'POST', headers: withToken, body }), { status: 401 })
  }
  for (const key of ['\u00ff', 'a\tb', '"', 'x'.repeat(8_000)]) {
    const withKey = { ...headers, 'idempotency-key': key }
    t.match(await request(`${url}/orders`, { method: 'POST', headers: withKey, body }), {
      status: 400,
      json: { code: 'FST_IDEMPOTENCY_KEY_INVALID' }
    })
  }
})

t.test('a payment is settled even if the provider’s number for it is one that Postgres cannot keep', async (t) => {
  const server = Fastify()
  server.post('/v1/charges', async () => ({ status: 'charged', tradeNo: NUL }))
  t.teardown(() => server.close())
  const provider = { url: await server.listen({ host: '127.0.0.1', port: 0 }), apiKey: 'any' }
  const { url } = await startApp(t, { databaseUrl, provider })
  const order = await createOrder(url)
  t.match(await post(`${order}/pay`, { method: 'card' }), { status: 200, json: { status: 'paid' } })
  t.match((await get(order)).json, { status: 'paid' })
})

t.test('a database of another encoding than UTF-8, which cannot keep all text, is refused at the start', async (t) => {
  for (const encoding of ['LATIN1', 'SQL_ASCII']) {
    await t.rejects(startApp(t, { databaseUrl: await createDatabase(t, { encoding }) }), {
      name: 'ConfigError',
      message: `DATABASE_URL must name a database in UTF8: one in ${encoding} cannot store all text that clients send`
    })
  }
})

function send (body: string | Buffer, type = 'application/json') {
  return request(`${url}/orders`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ALICE}`, 'content-type': type, 'idempotency-key': randomUUID() },
    body: body as string
  })
}
