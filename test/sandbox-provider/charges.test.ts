import { randomUUID } from 'node:crypto'
import t from 'tap'
import { merchantOf, startSandboxProvider } from './helper.ts'

const sandbox = await startSandboxProvider(t)
const merchant = merchantOf(sandbox)

async function charged (number: string): Promise<number> {
  return (await sandbox.ledger()).charges.filter(charge => charge.number === number && charge.chargedAt !== null).length
}

t.test('a charge that is asked for a hundred times at once is made once, and always answered alike', async (t) => {
  const number = randomUUID()
  const replies = await Promise.all(Array.from({ length: 100 }, () => merchant.charge(number)))
  t.equal(new Set(replies.map(reply => JSON.stringify(reply))).size, 1)
  t.match(replies[0], { status: 200, json: { number, status: 'charged', amount: 1999, currency: 'EUR' } })
  t.equal(await charged(number), 1)
  t.match(await merchant.query(number), { status: 200, json: replies[0]?.json as object })
  t.equal((await sandbox.ledger()).charges.find(charge => charge.number === number)?.requests, 100)
})

t.test('a number that was used with other terms is refused', async (t) => {
  const number = randomUUID()
  await merchant.charge(number)
  for (const terms of [{ amount: 2000 }, { currency: 'CHF' }]) {
    t.match(await merchant.charge(number, terms), { status: 409, json: { code: 'TERMS_DIFFER' } })
  }
})

t.test('an amount that ends in 02 is always declined', async (t) => {
  const number = randomUUID()
  t.match(await merchant.charge(number, { amount: 1002 }), { status: 200, json: { status: 'declined' } })
  t.match(await merchant.query(number), { json: { status: 'declined' } })
  t.equal(await charged(number), 0)
})

t.test('a number that was closed before it was charged never is', async (t) => {
  const number = randomUUID()
  t.match(await merchant.close(number), { status: 200, json: { number, status: 'closed' } })
  t.match(await merchant.charge(number), { status: 409, json: { code: 'CLOSED' } })
  t.match(await merchant.query(number), { json: { status: 'closed' } })
  t.equal(await charged(number), 0)
})

t.test('closing a number that was charged changes nothing, and the answer says so', async (t) => {
  const number = randomUUID()
  await merchant.charge(number)
  t.match(await merchant.close(number), { status: 200, json: { status: 'charged' } })
  t.match(await merchant.query(number), { json: { status: 'charged' } })
})

t.test('a number that nobody used is not found', async (t) => {
  t.match(await merchant.query(randomUUID()), { status: 404, json: { code: 'NOT_FOUND' } })
  t.match(await merchant.queryRefund(randomUUID()), { status: 404, json: { code: 'NOT_FOUND' } })
})

t.test('a refund pays back once however often it is asked for, and never more than was charged', async (t) => {
  const number = randomUUID()
  await merchant.charge(number)
  const part = randomUUID()
  for (let i = 0; i < 3; i++) {
    t.match(await merchant.refund(part, number, 1500), {
      status: 200,
      json: { status: 'refunded', amount: 1500 }
    })
  }
  t.match(await merchant.refund(randomUUID(), number, 500), { status: 200, json: { status: 'refused' } })
  t.match(await merchant.refund(randomUUID(), number, 499), { json: { status: 'refunded' } })
  t.match(await merchant.refund(part, number, 1), { status: 409, json: { code: 'TERMS_DIFFER' } })
  t.match(await merchant.queryRefund(part), { status: 200, json: { status: 'refunded' } })
  t.match(await merchant.refund(randomUUID(), randomUUID(), 1), { json: { status: 'refused' } }, 'nothing was charged')
})

t.test('without the API key nothing is done or shown', async (t) => {
  const stranger = merchantOf(sandbox, 'guessed')
  const number = randomUUID()
  t.match(await stranger.charge(number), { status: 401, json: { code: 'API_KEY_INVALID' } })
  t.match(await stranger.call('/sandbox/ledger'), { status: 401 })
  t.match(await merchant.query(number), { status: 404 })
})

t.test('a request with invalid values is refused', async (t) => {
  for (const body of [{ amount: 0 }, { amount: 1.5 }, { currency: 'euro' }, { notifyUrl: 'ftp://x' }, { extra: 1 }]) {
    t.equal((await merchant.charge(randomUUID(), body)).status, 400, JSON.stringify(body))
  }
  t.equal((await merchant.charge('not/a/number')).status, 400)
})
