import { randomUUID } from 'node:crypto'
import t from 'tap'
import { countPayments, createDatabase, createOrder, get, post, startApp } from './helper.ts'

const databaseUrl = await createDatabase(t)
const { url } = await startApp(t, { databaseUrl })

async function paidOrder (): Promise<string> {
  const order = await createOrder(url)
  await post(`${order}/pay`, { method: 'wallet' })
  return order
}

t.test('a paid order is refunded in full, and shows it', async (t) => {
  const order = await paidOrder()
  const refund = await post(`${order}/refund`, { reason: 'arrived broken' })
  t.equal(refund.status, 200)
  t.match(refund.json, { amount: 1999, currency: 'EUR', status: 'refunded', reason: 'arrived broken' })
  t.match((await get(order)).json, { status: 'refunded' })
  t.equal(await countPayments(databaseUrl, order), 2)
})

t.test('a refund needs no reason', async (t) => {
  const { status, json } = await post(`${await paidOrder()}/refund`, {})
  t.match({ status, json }, { status: 200, json: { reason: null } })
})

t.test('a refund sent twice with the same key pays back once, and both answers are the same bytes', async (t) => {
  const order = await paidOrder()
  const key = randomUUID()
  const first = await post(`${order}/refund`, { reason: 'x' }, { key })
  const second = await post(`${order}/refund`, { reason: 'x' }, { key })
  t.ok(second.replayed)
  t.equal(second.text, first.text)
  t.equal(await countPayments(databaseUrl, order), 2)
})

t.test('an order that is not paid cannot be refunded', async (t) => {
  const order = await createOrder(url)
  t.match(await post(`${order}/refund`, {}), {
    status: 409, json: { code: 'ORDER_NOT_REFUNDABLE', orderStatus: 'pending' }
  })
  t.equal(await countPayments(databaseUrl, order), 0)
})

t.test('a refunded order can be neither refunded nor paid again', async (t) => {
  const order = await paidOrder()
  await post(`${order}/refund`, {})
  t.match(await post(`${order}/refund`, {}), {
    status: 409,
    json: { code: 'ORDER_NOT_REFUNDABLE', orderStatus: 'refunded' }
  })
  t.match(await post(`${order}/pay`, { method: 'card' }), {
    status: 409,
    json: { code: 'ORDER_NOT_PAYABLE', orderStatus: 'refunded' }
  })
  t.equal(await countPayments(databaseUrl, order), 2)
})

t.test('fifty refunds of one order with different keys: one pays back', async (t) => {
  const order = await paidOrder()
  const answers = await Promise.all(Array.from({ length: 50 }, () => post(`${order}/refund`, {})))
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal(answers.filter(({ status }) => status === 409).length, 49)
  t.equal(await countPayments(databaseUrl, order), 2)
})
