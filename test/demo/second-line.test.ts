import { randomBytes, randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { DEMO_TOKENS } from '../../demo-app/auth.ts'
import { migrate } from '../../demo-app/db/migrate.ts'
import pool from '../../demo-app/db/pool.ts'
import { createOrder } from '../../demo-app/orders/create.ts'
import type { CreateCommand } from '../../demo-app/orders/create.ts'
import { payOrder } from '../../demo-app/orders/pay.ts'
import type { PayCommand } from '../../demo-app/orders/pay.ts'
import { refundOrder } from '../../demo-app/orders/refund.ts'
import type { RefundCommand } from '../../demo-app/orders/refund.ts'
import { STATUSES } from '../../demo-app/orders/status.ts'
import type { Complete } from '../../demo-app/orders/complete.ts'
import { startPayment } from '../../demo-app/orders/payments.ts'
import { findOrder, moveOrder, VersionConflictError } from '../../demo-app/orders/store.ts'
import type { Order } from '../../demo-app/orders/store.ts'
import { Provider } from '../../demo-app/provider.ts'
import { createDatabase } from './helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'

// This file uses neither the plugin nor Redis. So what it tests also holds if each key is new, lost or bypassed.

/** Without the plugin, there is no journal in which to complete an answer. */
const complete: Complete = async (_tx, { body }) => body as never

/** The service without the plugin, with the real pool, for the customer alice. */
async function withoutPlugin (t: Test) {
  const databaseUrl = await createDatabase(t)
  await migrate(databaseUrl, { demoCustomers: true })
  const app = Fastify()
  await app.register(pool, { databaseUrl, embedded: false })
  t.teardown(() => app.close())
  const { rows } = await app.pg.query<{ id: string }>("SELECT id FROM customers WHERE name = 'alice'")
  const customerId = rows[0]?.id ?? ''
  const sandbox = await startSandboxProvider(t)
  const provider = new Provider({ ...sandbox.options, timeout: 10_000, notifyUrl: () => 'http://127.0.0.1:9/' })
  const attempt = 1
  return {
    db: app.pg,
    customerId,
    sandbox,
    create: (command: Omit<CreateCommand, 'customerId'>) =>
      createOrder(app.pg, { customerId, ...command }, complete),
    pay: (command: Omit<PayCommand, 'attempt'>) =>
      payOrder(app.pg, provider, { ...command, attempt }, complete),
    refund: (command: Omit<RefundCommand, 'attempt'>) =>
      refundOrder(app.pg, provider, { ...command, attempt }, complete),
    async newOrder (): Promise<Order> {
      const { id } = await createOrder(
        app.pg,
        { customerId, operation: randomBytes(32), amount: 500, currency: 'EUR', reference: null },
        complete
      )
      return await findOrder(app.pg, { orderId: id, customerId }) as Order
    },
    /** A command of a new operation, unless one is given. */
    command: ({ id }: Order, operation = randomBytes(32)) => ({ orderId: id, customerId, operation }),
    async payments ({ id }: Order): Promise<string[]> {
      const { rows } = await app.pg.query<{ kind: string }>(
        'SELECT kind FROM payments WHERE order_id = $1 ORDER BY kind',
        [id]
      )
      return rows.map(({ kind }) => kind)
    }
  }
}

const NOT_PAYABLE = { statusCode: 409, code: 'ORDER_NOT_PAYABLE' }

t.test('a hundred payments of one order with a hundred keys charge once, and the others get its status', async (t) => {
  const { newOrder, command, payments, pay } = await withoutPlugin(t)
  const order = await newOrder()
  const payOnce = () => pay({ ...command(order), method: 'card' })
  const outcomes = await Promise.allSettled(Array.from({ length: 100 }, payOnce))
  const refusals = outcomes.flatMap(outcome => outcome.status === 'rejected' ? [outcome.reason as unknown] : [])
  t.equal(refusals.length, 99)
  for (const refusal of refusals) t.match(refusal, { statusCode: 409, members: { orderStatus: /^(paying|paid)$/ } })
  t.same(await payments(order), ['capture'])
})

t.test('a hundred attempts of one operation charge once, and all get the same receipt', async (t) => {
  const { newOrder, command, payments, pay } = await withoutPlugin(t)
  const order = await newOrder()
  const attempt = { ...command(order), method: 'card' as const }
  const receipts = await Promise.all(Array.from({ length: 100 }, () => pay(attempt)))
  t.equal(new Set(receipts.map(receipt => JSON.stringify(receipt))).size, 1)
  t.same(await payments(order), ['capture'])
})

t.test('an operation is not recognised by a payment with other terms', async (t) => {
  const { newOrder, command, pay } = await withoutPlugin(t)
  const order = await newOrder()
  const paid = command(order)
  await pay({ ...paid, method: 'card' })
  await t.rejects(pay({ ...paid, method: 'wallet' }), NOT_PAYABLE)
})

t.test('the receipt of a lost attempt is still given after the order has been refunded', async (t) => {
  const { newOrder, command, payments, pay, refund } = await withoutPlugin(t)
  const order = await newOrder()
  const paid = { ...command(order), method: 'wallet' as const }
  const receipt = await pay(paid)
  const refunded = { ...command(order), reason: 'broken' }
  const paidBack = await refund(refunded)
  t.same(await pay(paid), receipt)
  t.same(await refund(refunded), paidBack)
  t.same(await payments(order), ['capture', 'refund'])
})

t.test('a hundred refunds of one order pay back once', async (t) => {
  const { newOrder, command, payments, pay, refund } = await withoutPlugin(t)
  const order = await newOrder()
  await pay({ ...command(order), method: 'card' })
  const refundOnce = () => refund({ ...command(order), reason: null })
  const outcomes = await Promise.allSettled(Array.from({ length: 100 }, refundOnce))
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  t.same(await payments(order), ['capture', 'refund'])
})

t.test('payments and refunds that race leave an order that is paid once and refunded at most once', async (t) => {
  const { db, customerId, newOrder, command, payments, pay, refund } = await withoutPlugin(t)
  const order = await newOrder()
  const outcomes = await Promise.allSettled(Array.from({ length: 60 }, (_, i) => i % 2 === 0
    ? pay({ ...command(order), method: 'card' })
    : refund({ ...command(order), reason: null })))
  const succeeded = outcomes.filter(({ status }) => status === 'fulfilled').length
  const kinds = await payments(order)
  t.equal(succeeded, kinds.length)
  t.ok(['capture', 'capture,refund'].includes(kinds.join()))
  t.match(await findOrder(db, { orderId: order.id, customerId }), {
    status: succeeded === 2 ? 'refunded' : 'paid',
    version: 1 + 2 * succeeded
  })
})

t.test('fifty attempts to create an order for one operation create one', async (t) => {
  const { create } = await withoutPlugin(t)
  const terms = { operation: randomBytes(32), amount: 700, currency: 'CHF', reference: 'r-1' }
  const orders = await Promise.all(Array.from({ length: 50 }, () => create(terms)))
  t.equal(new Set(orders.map(order => JSON.stringify(order))).size, 1)
  await t.rejects(create({ ...terms, amount: 701 }), { statusCode: 409, code: 'OPERATION_EXISTS' })
})

t.test('the database itself refuses a second charge of an order, whoever writes it', async (t) => {
  const { db, newOrder, command, pay } = await withoutPlugin(t)
  const order = await newOrder()
  await pay({ ...command(order), method: 'card' })
  await t.rejects(
    db.query(`INSERT INTO payments (order_id, kind, status, method, amount, currency, operation)
              VALUES ($1, 'capture', 'started', 'card', 500, 'EUR', $2)`, [order.id, randomBytes(32)]),
    { code: '23505', constraint: 'payments_once' })
})

t.test('a charge that somebody wrote behind the back of the status is met with a 409, not charged again', async (t) => {
  const { db, newOrder, command, payments, pay } = await withoutPlugin(t)
  const order = await newOrder()
  await startPayment(db, order, { kind: 'capture', method: 'card', operation: randomBytes(32) })
  await t.rejects(pay({ ...command(order), method: 'card' }), { ...NOT_PAYABLE, members: { orderStatus: 'pending' } })
  t.same(await payments(order), ['capture'])
})

t.test('a change of an order that another change has overtaken is refused, and changes nothing', async (t) => {
  const { db, customerId, newOrder } = await withoutPlugin(t)
  const order = await newOrder()
  await moveOrder(db, order, 'paying')
  await t.rejects(moveOrder(db, order, 'paying'), VersionConflictError)
  t.match(await findOrder(db, { orderId: order.id, customerId }), { status: 'paying', version: 2 })
})

t.test('a version that changes under a payment undoes the charge and is answered 409', async (t) => {
  const { db, newOrder, command, payments, pay } = await withoutPlugin(t)
  const order = await newOrder()
  // Changes the order without a lock between the charge and the new status, which is the worst moment.
  await db.query(`CREATE FUNCTION meddle () RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE orders SET version = version + 1 WHERE id = NEW.order_id; RETURN NEW; END $$`)
  await db.query('CREATE TRIGGER meddle AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION meddle()')
  await t.rejects(pay({ ...command(order), method: 'card' }), { ...NOT_PAYABLE, members: { orderStatus: 'pending' } })
  t.same(await payments(order), [])
})

t.test('an order that does not exist cannot be paid', async (t) => {
  const { customerId, pay } = await withoutPlugin(t)
  await t.rejects(
    pay({ orderId: randomUUID(), customerId, operation: randomBytes(32), method: 'card' }),
    { statusCode: 404, code: 'ORDER_NOT_FOUND' })
})

t.test('the database knows the same statuses as the state machine, and no others', async (t) => {
  const { db, newOrder } = await withoutPlugin(t)
  const { id } = await newOrder()
  for (const status of STATUSES) await db.query('UPDATE orders SET status = $2 WHERE id = $1', [id, status])
  await t.rejects(db.query("UPDATE orders SET status = 'lost' WHERE id = $1", [id]), { code: '23514' })
})

t.test('the database refuses amounts, currencies and payments that make no sense', async (t) => {
  const { db, newOrder, create } = await withoutPlugin(t)
  const order = await newOrder()
  const violation = { code: '23514' }
  const terms = { operation: randomBytes(32), amount: 1, currency: 'EUR', reference: null }
  await t.rejects(create({ ...terms, amount: 0 }), violation)
  await t.rejects(create({ ...terms, amount: Number.MAX_SAFE_INTEGER + 1 }), violation)
  await t.rejects(create({ ...terms, currency: 'eur' }), violation)
  await t.rejects(
    startPayment(db, order, { kind: 'capture', operation: randomBytes(32) }),
    violation,
    'a charge without a method'
  )
  await t.rejects(startPayment(db, order, { kind: 'refund', method: 'card', operation: randomBytes(32) }), violation)
  const largest = await create({ ...terms, amount: Number.MAX_SAFE_INTEGER })
  t.equal(largest.amount, Number.MAX_SAFE_INTEGER)
})

t.test('neither tokens nor keys can be read out of the database', async (t) => {
  const { db } = await withoutPlugin(t)
  const { rows } = await db.query<{ token_hash: Buffer }>('SELECT token_hash FROM customers')
  t.equal(rows.length, 2)
  for (const { token_hash: hash } of rows) {
    for (const token of Object.values(DEMO_TOKENS)) t.notOk(hash.includes(token))
  }
})
