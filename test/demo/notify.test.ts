import { randomUUID } from 'node:crypto'
import t from 'tap'
import { generateKeys, sign } from '../../sandbox-provider/signature.ts'
import { createDatabase, createOrder, get, idOf, keepLog, post, query, startApp, until } from './helper.ts'
import { PROVIDER_KEYS, startSandboxProvider } from '../sandbox-provider/helper.ts'

const CARD = { method: 'card' }

const databaseUrl = await createDatabase(t)
const sandbox = await startSandboxProvider(t)
const log = keepLog()
// The provider's own notifications do not arrive. The tests of this file send them.
const { app, url } = await startApp(t, {
  databaseUrl,
  logger: log.logger,
  provider: { ...sandbox.options, timeout: 2_000, publicUrl: 'http://127.0.0.1:9' }
})

interface Told {
  status: number
  text: string
  replayed: boolean
}

async function notify (fields: Record<string, string>, privateKey = PROVIDER_KEYS.privateKey): Promise<Told> {
  const form: Record<string, string> = {
    notify_id: randomUUID(),
    notify_type: 'charge',
    trade_no: 'T1',
    amount: '1999',
    currency: 'EUR',
    notify_time: '2026-01-01T00:00:00Z',
    sign_type: 'RSA2',
    ...fields
  }
  const response = await fetch(`${url}/payments/notify`, {
    method: 'POST',
    body: new URLSearchParams({ ...form, sign: sign(form, privateKey) })
  })
  return {
    status: response.status,
    text: await response.text(),
    replayed: response.headers.get('idempotent-replayed') === 'true'
  }
}

/** Makes a payment that the provider charges without an answer in time. */
async function unanswered (key: string = randomUUID()): Promise<{ order: string, number: string, key: string }> {
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000 })
  const { status } = await post(`${order}/pay`, CARD, { key })
  if (status !== 503) throw new Error(`the payment was answered ${status}`)
  const [row] = await query<{ id: string }>(databaseUrl, 'SELECT id FROM payments WHERE order_id = $1', [idOf(order)])
  return { order, number: row?.id ?? '', key }
}

t.test('a notification settles what no answer has settled, and the client’s retry gets the receipt', async (t) => {
  const { order, number, key } = await unanswered()
  t.match(await notify({ out_trade_no: number, status: 'charged' }), { status: 200, text: 'success' })
  t.match((await get(order)).json, { status: 'paid' })
  t.match(await post(`${order}/pay`, CARD, { key }), { status: 200, json: { paymentId: number, status: 'paid' } })
})

t.test('a notification that is repeated is applied once, and each repetition is answered success', async (t) => {
  const { order, number } = await unanswered()
  const before = app.idempotency.stats().claimed
  const fields = { notify_id: randomUUID(), out_trade_no: number, status: 'charged' }
  const together = await Promise.all(Array.from({ length: 10 }, () => notify(fields)))
  t.ok(together.some(({ status, text }) => status === 200 && text === 'success'))
  for (const { status, text } of together) t.ok((status === 200 && text === 'success') || status === 409)
  t.match(await notify(fields), { status: 200, text: 'success', replayed: true })
  t.equal(app.idempotency.stats().claimed, before + 1)
  const [row] = await query<{ version: number }>(databaseUrl, 'SELECT version FROM orders WHERE id = $1', [idOf(order)])
  t.equal(row?.version, 3, 'paying, paid')
})

t.test('notifications after the answer, or in another order than things happened, change nothing', async (t) => {
  const order = await createOrder(url)
  const paid = await post(`${order}/pay`, CARD)
  const refunded = await post(`${order}/refund`, {})
  const refund = { out_trade_no: String(refunded.json.refundId), notify_type: 'refund', status: 'refunded' }
  t.match(await notify(refund), { text: 'success' })
  t.match(await notify({ out_trade_no: String(paid.json.paymentId), status: 'charged' }), { text: 'success' })
  t.match((await get(order)).json, { status: 'refunded' })
})

t.test('after a notification of a decline the order can be paid again', async (t) => {
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'fail' })
  await post(`${order}/pay`, CARD)
  const [row] = await query<{ id: string }>(databaseUrl, 'SELECT id FROM payments WHERE order_id = $1', [idOf(order)])
  t.match(await notify({ out_trade_no: row?.id ?? '', status: 'declined' }), { text: 'success' })
  t.match((await get(order)).json, { status: 'pending' })
  t.equal((await post(`${order}/pay`, CARD)).status, 200)
})

t.test('a forged notification is refused, changes nothing, and does not take the id of the real one', async (t) => {
  const { order, number } = await unanswered()
  const fields = { notify_id: randomUUID(), out_trade_no: number, status: 'charged' }
  t.match(await notify(fields, generateKeys().privateKey), { status: 401 })
  t.match((await get(order)).json, { status: 'paying' })
  t.match(await notify(fields), { status: 200, text: 'success', replayed: false })
})

t.test('an unknown payment or another amount in a notification is logged and not answered success', async (t) => {
  const { order, number } = await unanswered()
  t.equal((await notify({ out_trade_no: randomUUID(), status: 'charged' })).status, 409)
  const fields = { notify_id: randomUUID(), out_trade_no: number, status: 'charged', amount: '1' }
  for (let i = 0; i < 2; i++) t.match(await notify(fields), { status: 409, replayed: false }, 'looked into each time')
  t.match((await get(order)).json, { status: 'paying' })
  t.ok(log.find('the notification is about a payment that is not known'))
  t.ok(log.find('the notification has another amount than the payment'))
})

t.test('a form that is not a notification is refused', async (t) => {
  const response = await fetch(`${url}/payments/notify`, {
    method: 'POST',
    body: new URLSearchParams({ notify_id: 'x' })
  })
  t.equal(response.status, 400)
})

t.test('the provider itself notifies the app, and the order is paid without the client coming back', async (t) => {
  const own = await startSandboxProvider(t, { notify: { scale: 1e-4, duplicates: 0.5, shuffleMs: 50 } })
  const { url } = await startApp(t, { databaseUrl, provider: { ...own.options, timeout: 2_000 } })
  const order = await createOrder(url)
  await own.fault({ kind: 'timeout-after-charge', delayMs: 60_000 })
  t.equal((await post(`${order}/pay`, CARD)).status, 503)
  await until(async () => (await get(order)).json.status === 'paid', 'the notification')
  await until(
    async () => (await own.ledger()).notifications.every(({ delivered }) => delivered),
    'it was answered success'
  )
})
