import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { createDatabase, createOrder, get, idOf, post, query, startApp, until } from './helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'
import type { TestSandbox } from '../sandbox-provider/helper.ts'

const CARD = { method: 'card' }
/** A URL without a server, so that no notification arrives. */
const NOBODY = 'http://127.0.0.1:9'

const databaseUrl = await createDatabase(t)

/** How many requests asked the provider to charge this order, and how many charges it made. */
async function charges (sandbox: TestSandbox, order: string): Promise<{ asked: number, made: number }> {
  const select = 'SELECT id FROM payments WHERE order_id = $1'
  const payments = await query<{ id: string }>(databaseUrl, select, [idOf(order)])
  const own = (await sandbox.ledger()).charges.filter(({ number }) => payments.some(({ id }) => id === number))
  return {
    asked: own.reduce((sum, { requests }) => sum + requests, 0),
    made: own.filter(({ status }) => status === 'charged').length
  }
}

async function start (t: Test, options: { sweepAfter?: number } = {}) {
  const sandbox = await startSandboxProvider(t)
  const { app, url } = await startApp(t, {
    databaseUrl,
    provider: { ...sandbox.options, publicUrl: NOBODY },
    ...options
  })
  const [alice] = await query<{ id: string }>(databaseUrl, "SELECT id FROM customers WHERE name = 'alice'")
  return { sandbox, url, forget: (key: string) => app.idempotency.forget(key, alice?.id ?? '') }
}

t.test('a declined payment is not charged when Redis has forgotten its key: the retry is told the same', async (t) => {
  const { sandbox, url, forget } = await start(t)
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'decline' })
  const key = randomUUID()
  const declined = await post(`${order}/pay`, CARD, { key })
  t.equal(declined.status, 402)
  t.equal(await forget(key), true)
  const retry = await post(`${order}/pay`, CARD, { key })
  t.equal(retry.text, declined.text)
  t.same(await charges(sandbox, order), { asked: 1, made: 0 })
  t.match((await get(order)).json, { status: 'pending' })
  t.equal((await post(`${order}/pay`, CARD)).status, 200, 'with a new key it can be paid')
  await forget(key)
  t.equal((await post(`${order}/pay`, CARD, { key })).text, declined.text, 'and the old one is still told the same')
  t.same(await charges(sandbox, order), { asked: 2, made: 1 })
})

t.test('a declined payment is not charged by another body under its key when Redis has forgotten it', async (t) => {
  const { sandbox, url, forget } = await start(t)
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'decline' })
  const key = randomUUID()
  const declined = await post(`${order}/pay`, CARD, { key })
  t.equal(await forget(key), true)
  t.equal((await post(`${order}/pay`, { method: 'wallet' }, { key })).status, 422)
  t.same(await charges(sandbox, order), { asked: 1, made: 0 })
  t.equal((await post(`${order}/pay`, CARD, { key })).text, declined.text)
})

t.test('a payment that the sweeper gave up is not charged when its client comes back after all', async (t) => {
  const { sandbox, url } = await start(t, { sweepAfter: 300 })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'fail' })
  const key = randomUUID()
  t.equal((await post(`${order}/pay`, CARD, { key })).status, 503)
  await until(async () => (await get(order)).json.status === 'pending', 'the sweeper')
  t.match(await post(`${order}/pay`, CARD, { key }), { status: 402, json: { code: 'PAYMENT_DECLINED' } })
  t.same((await charges(sandbox, order)).made, 0)
  t.equal((await post(`${order}/pay`, CARD)).status, 200, 'with a new key it can be paid')
})

t.test('a declined refund is not carried out when Redis has forgotten its key', async (t) => {
  const { sandbox, url, forget } = await start(t)
  const order = await createOrder(url)
  const paid = await post(`${order}/pay`, CARD)
  const refunded = await fetch(`${sandbox.url}/v1/refunds`, {
    method: 'POST',
    headers: { authorization: `Bearer ${sandbox.options.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ number: randomUUID(), chargeNumber: paid.json.paymentId, amount: 1999 })
  })
  t.equal(refunded.status, 200, 'the provider pays back without the app, so that it refuses the refund of the app')
  const key = randomUUID()
  const refused = await post(`${order}/refund`, {}, { key })
  t.match(refused, { status: 402, json: { code: 'REFUND_REFUSED' } })
  t.equal(await forget(key), true)
  t.equal((await post(`${order}/refund`, {}, { key })).text, refused.text)
  t.equal((await sandbox.ledger()).refunds.length, 2)
})
