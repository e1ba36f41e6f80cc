import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { createDatabase, createOrder, get, idOf, post, query, startApp } from './helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'

// What the app and the provider do for a key that Redis has forgotten and the database still has.

const CARD = { method: 'card' }

async function start (t: Test) {
  const databaseUrl = await createDatabase(t)
  const sandbox = await startSandboxProvider(t)
  const { app, url } = await startApp(t, {
    databaseUrl,
    provider: { ...sandbox.options, publicUrl: 'http://127.0.0.1:9' }
  })
  const [alice] = await query<{ id: string }>(databaseUrl, "SELECT id FROM customers WHERE name = 'alice'")
  return {
    url,
    async ledger () {
      const { charges, refunds } = await sandbox.ledger()
      return { charges, refunds }
    },
    /** The charges and refunds that the app has started for an order. */
    payments: async (order: string) => query(
      databaseUrl,
      'SELECT kind, status FROM payments WHERE order_id = $1 ORDER BY kind',
      [idOf(order)]
    ),
    forget: async (key: string) => { t.equal(await app.idempotency.forget(key, alice?.id ?? ''), true) }
  }
}

t.test(
  'a key that paid order A is refused for order C, which is not charged at the provider nor touched here',
  async (t) => {
    const { url, ledger, payments, forget } = await start(t)
    const [a, c] = [await createOrder(url), await createOrder(url)]
    const key = randomUUID()
    const paid = await post(`${a}/pay`, CARD, { key })
    t.equal(paid.status, 200)
    const before = await ledger()
    await forget(key)
    t.match(await post(`${c}/pay`, CARD, { key }), {
      status: 422,
      json: { code: 'FST_IDEMPOTENCY_KEY_REUSED', retryable: false }
    })
    t.same(await ledger(), before, 'nothing at the provider')
    t.same(await payments(c), [])
    t.match((await get(c)).json, { status: 'pending' })
    t.match(await post(`${a}/pay`, CARD, {
      key
    }), { status: 200, text: paid.text }, 'and order A still gets its receipt')
    t.same(await ledger(), before)
    t.equal((await post(`${c}/pay`, CARD)).status, 200, 'with a new key order C can be paid')
  }
)

t.test('a key that refunded order A is refused for order C, to which nothing is paid back', async (t) => {
  const { url, ledger, payments, forget } = await start(t)
  const [a, c] = [await createOrder(url), await createOrder(url)]
  for (const order of [a, c]) t.equal((await post(`${order}/pay`, CARD)).status, 200)
  const key = randomUUID()
  t.equal((await post(`${a}/refund`, {}, { key })).status, 200)
  const before = await ledger()
  await forget(key)
  t.match(await post(`${c}/refund`, {}, { key }), { status: 422, json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' } })
  t.same(await ledger(), before)
  t.same(await payments(c), [{ kind: 'capture', status: 'done' }])
  t.match((await get(c)).json, { status: 'paid' })
})

t.test('a final refusal stays one: an order that was paid under another key is not charged later', async (t) => {
  const { url, ledger, forget } = await start(t)
  const order = await createOrder(url)
  t.equal((await post(`${order}/pay`, CARD)).status, 200)
  const key = randomUUID()
  const refused = await post(`${order}/pay`, CARD, { key })
  t.match(refused, { status: 409, json: { code: 'ORDER_NOT_PAYABLE' } })
  const early = randomUUID()
  const missing = await post(`${url}/orders/${randomUUID()}/pay`, CARD, { key: early })
  t.equal(missing.status, 404)
  const before = await ledger()
  await forget(key)
  t.match(await post(`${order}/pay`, CARD, { key }), { status: 409, text: refused.text })
  await forget(early)
  t.equal((await post(`${order}/refund`, {}, { key: early })).status, 422, 'nor is its key good for anything else')
  t.same(await ledger(), before)
})
