import { randomUUID } from 'node:crypto'
import t from 'tap'
import { REDIS_URL } from '../helper.ts'
import {
  countPayments,
  createDatabase,
  createOrder,
  get,
  idOf,
  keepLog,
  post,
  query,
  startApp,
  until
} from './helper.ts'
import type { Answer } from './helper.ts'
import { startServer } from './process.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'
import type { TestSandbox } from '../sandbox-provider/helper.ts'

const CARD = { method: 'card' }

const databaseUrl = await createDatabase(t)

/** The number under which the provider knows the payment. */
async function numberOf (order: string): Promise<string> {
  const [row] = await query<{ id: string }>(
    databaseUrl,
    "SELECT id FROM payments WHERE order_id = $1 AND status <> 'declined'",
    [idOf(order)]
  )
  return row?.id ?? ''
}

/** How many requests asked the provider to charge the order, and how many charges it made. */
async function charges (sandbox: TestSandbox, order: string): Promise<{ asked: number, made: number }> {
  const rows = await query<{ id: string }>(databaseUrl, 'SELECT id FROM payments WHERE order_id = $1', [idOf(order)])
  const numbers = rows.map(({ id }) => id)
  const found = (await sandbox.ledger()).charges.filter(({ number }) => numbers.includes(number))
  return {
    asked: found.reduce((sum, { requests }) => sum + requests, 0),
    made: found.filter(({ chargedAt }) => chargedAt !== null).length
  }
}

async function untilPaid (send: () => Promise<Answer>): Promise<Answer> {
  let answer: Answer | undefined
  await until(async () => {
    answer = await send()
    return answer.status === 200
  }, 'it is paid', 30_000)
  return answer as Answer
}

t.test('while the provider is asked the order is marked, and no connection to the database is held', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { app, url } = await startApp(t, { databaseUrl, provider: sandbox.options })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'slow', delayMs: 3_000, operation: 'charge' })
  const paid = post(`${order}/pay`, CARD)
  await until(async () => (await get(order)).json.status === 'paying', 'the mark')
  await until(() => app.pg.pool.idleCount === app.pg.pool.totalCount, 'all connections are idle')
  t.match(await post(`${order}/pay`, CARD), {
    status: 409, json: { code: 'ORDER_IN_PROGRESS', orderStatus: 'paying', retryable: true }
  })
  t.equal((await paid).status, 200)
})

t.test('a refusal because another payment is under way is not kept: the same key can be tried again', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { url } = await startApp(t, { databaseUrl, provider: sandbox.options })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'decline', delayMs: 1_000 })
  const first = post(`${order}/pay`, CARD)
  await until(async () => (await get(order)).json.status === 'paying', 'the mark')
  const key = randomUUID()
  const refused = await post(`${order}/pay`, CARD, { key })
  t.match(refused, { status: 409, json: { code: 'ORDER_IN_PROGRESS' } })
  t.equal(refused.headers.get('retry-after'), '1')
  t.equal((await first).status, 402)
  t.equal((await untilPaid(() => post(`${order}/pay`, CARD, { key }))).replayed, false)
})

t.test(
  'a provider that charges and does not answer: the retry asks what became of it, and charges nothing',
  async (t) => {
    const sandbox = await startSandboxProvider(t)
    const { url } = await startApp(t, {
      databaseUrl,
      provider: { ...sandbox.options, timeout: 2_000, publicUrl: 'http://127.0.0.1:9' }
    })
    const order = await createOrder(url)
    await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000 })
    const key = randomUUID()
    t.match(await post(`${order}/pay`, CARD, { key }), {
      status: 503,
      json: { code: 'PROVIDER_UNAVAILABLE', retryable: true }
    })
    t.match((await get(order)).json, { status: 'paying' })
    const paid = await post(`${order}/pay`, CARD, { key })
    t.equal(paid.status, 200)
    t.same(await charges(sandbox, order), { asked: 1, made: 1 })
    t.equal((await post(`${order}/pay`, CARD, { key })).text, paid.text)
  }
)

t.test('a provider that fails before it charges: the retry charges, once', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { url } = await startApp(t, { databaseUrl, provider: sandbox.options })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'fail' })
  const key = randomUUID()
  t.match(await post(`${order}/pay`, CARD, { key }), { status: 503, json: { code: 'PROVIDER_UNAVAILABLE' } })
  t.equal((await post(`${order}/pay`, CARD, { key })).status, 200)
  t.same(await charges(sandbox, order), { asked: 1, made: 1 })
})

t.test('a provider that takes its time: the client is told to come back, with the same key', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { url } = await startApp(t, { databaseUrl, provider: { ...sandbox.options, publicUrl: 'http://127.0.0.1:9' } })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'processing', delayMs: 500 })
  const key = randomUUID()
  const told = await post(`${order}/pay`, CARD, { key })
  t.match(told, { status: 409, json: { code: 'PAYMENT_IN_PROGRESS', retryable: true } })
  t.ok(told.headers.get('retry-after'))
  await untilPaid(() => post(`${order}/pay`, CARD, { key }))
  t.same(await charges(sandbox, order), { asked: 1, made: 1 })
})

t.test('a payment that is declined is told so for good, and the order can be paid with another key', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { url } = await startApp(t, { databaseUrl, provider: sandbox.options })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'decline' })
  const key = randomUUID()
  const declined = await post(`${order}/pay`, CARD, { key })
  t.match(declined, { status: 402, json: { status: 402, code: 'PAYMENT_DECLINED', retryable: false } })
  t.equal(declined.headers.get('content-type'), 'application/problem+json; charset=utf-8')
  t.match((await get(order)).json, { status: 'pending' })
  const again = await post(`${order}/pay`, CARD, { key })
  t.ok(again.replayed)
  t.equal(again.text, declined.text)
  t.equal((await post(`${order}/pay`, CARD)).status, 200)
  t.equal(
    (await post(`${order}/pay`, CARD, { key })).text,
    declined.text,
    'and the first key still gets its own answer'
  )
  t.same(await charges(sandbox, order), { asked: 2, made: 1 })
})

t.test('a refund whose answer is lost pays back once', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { url } = await startApp(t, {
    databaseUrl,
    provider: { ...sandbox.options, timeout: 2_000, publicUrl: 'http://127.0.0.1:9' }
  })
  const order = await createOrder(url)
  await post(`${order}/pay`, CARD)
  await sandbox.fault({ kind: 'timeout-after-charge', operation: 'refund', delayMs: 60_000 })
  const key = randomUUID()
  t.equal((await post(`${order}/refund`, {}, { key })).status, 503)
  t.match((await get(order)).json, { status: 'refunding' })
  t.match(await post(`${order}/refund`, {}, { key }), { status: 200, json: { status: 'refunded' } })
  t.equal((await sandbox.ledger()).refunds.filter(({ status }) => status === 'refunded').length, 1)
  t.equal(await countPayments(databaseUrl, order), 2)
})

t.test(
  'an app that is killed while it waits for the provider: the retry finds the charge, and nothing is charged again',
  async (t) => {
    const sandbox = await startSandboxProvider(t)
    const victim = startServer(t, {
      DATABASE_URL: databaseUrl,
      REDIS_URL,
      IDEMPOTENCY_LEASE_MS: '1000',
      PROVIDER_URL: sandbox.url,
      PUBLIC_URL: 'http://127.0.0.1:9'
    })
    const order = await createOrder(await victim.listening())
    await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000 })
    const key = randomUUID()
    const lost = post(`${order}/pay`, CARD, { key })
    lost.catch(() => {})
    await until(async () => (await charges(sandbox, order)).made === 1, 'the charge')
    victim.kill('SIGKILL')
    await t.rejects(lost)

    const log = keepLog()
    const { url } = await startApp(t, {
      databaseUrl,
      provider: sandbox.options,
      logger: log.logger,
      idempotency: { keyPrefix: 'idem:' }
    })
    const paid = await untilPaid(() => post(`${url}/orders/${idOf(order)}/pay`, CARD, { key }))
    t.match(paid.json, { paymentId: await numberOf(order), status: 'paid' })
    t.match(log.find('the outcome of an earlier attempt is not known'), { attempt: 2 })
    t.same(await charges(sandbox, order), { asked: 1, made: 1 })
  }
)
