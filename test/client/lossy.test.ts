import t from 'tap'
import { seeded } from '../../sandbox-provider/random.ts'
import { ALICE, countPayments, createDatabase, createOrder, post, query, startApp } from '../demo/helper.ts'
import { sendByFetch, sendByUndici } from './helper.ts'
import type { Incoming } from './helper.ts'
import { startProxy } from './proxy.ts'
import type { Fate } from './proxy.ts'

const ORDERS = 40
const CARD = { method: 'card' }

const databaseUrl = await createDatabase(t)
const { url } = await startApp(t, { databaseUrl })

/**
 * Half of all requests fail: a quarter before they reach the server; of the others, some answers are lost, some are
 * cut, and some are replaced by a proxy's own.
 */
function fates (seed: number): () => Fate {
  const random = seeded(seed)
  return () => {
    const chance = random()
    if (chance < 0.25) return 'request lost'
    if (chance < 0.335) return 'answer lost'
    if (chance < 0.42) return 'error page'
    return chance < 0.5 ? 'answer cut' : 'passes'
  }
}

for (const [what, send, seed] of [['fetch', sendByFetch, 1], ['undici', sendByUndici(t), 2]] as const) {
  t.test(`with half of the requests lost, each order is charged once and gets its receipt (${what})`, async (t) => {
    const orders = await Promise.all(Array.from({ length: ORDERS }, () => createOrder(url)))
    const proxy = await startProxy(t, url, fates(seed))
    const answers: Incoming[] = []
    // Five at a time, each on connections that others use before and after it.
    const todo = orders.entries()
    await Promise.all(Array.from({ length: 5 }, async () => {
      for (const [index, order] of todo) {
        answers[index] = await send(order.replace(url, proxy.url) + '/pay', {
          headers: { authorization: `Bearer ${ALICE}`, 'content-type': 'application/json' },
          body: JSON.stringify(CARD)
        })
      }
    }))
    const { met } = proxy
    t.comment(met)
    for (const [fate, requests] of Object.entries(met)) t.ok(requests > 0, `${fate}: ${requests} requests`)
    t.equal(
      answers.reduce((sum, { tries }) => sum + tries, 0),
      Object.values(met).reduce((sum, count) => sum + count, 0),
      'each try is one request'
    )
    t.equal(met.passes, ORDERS, 'the first answer that arrives ends the operation')
    t.ok(answers.some(({ replayed }) => replayed), 'some answers are replays')
    t.ok(answers.some(({ tries, replayed }) => tries > 1 && !replayed), 'some retries are the first to arrive')
    for (const [index, order] of orders.entries()) {
      const { status, text, key, replayed, tries } = answers[index] as Incoming
      t.equal(status, 200)
      t.ok(!replayed || tries > 1)
      t.equal(await countPayments(databaseUrl, order), 1)
      const stored = await post(order + '/pay', CARD, { key: key ?? '' })
      t.ok(stored.replayed)
      t.equal(text, stored.text, 'the receipt is the one that the server has')
    }
  })
}

for (const [what, send] of [['fetch', sendByFetch], ['undici', sendByUndici(t)]] as const) {
  t.test(`behind a proxy that says 500 for a lost answer, a paid order ends with its receipt (${what})`, async (t) => {
    const order = await createOrder(url)
    let requests = 0
    const proxy = await startProxy(t, url, () => ++requests < 3 ? 'error page' : 'passes')
    const { status, tries, replayed, text } = await send(order.replace(url, proxy.url) + '/pay', {
      headers: { authorization: `Bearer ${ALICE}`, 'content-type': 'application/json' }, body: JSON.stringify(CARD)
    })
    t.match({ status, tries, replayed }, { status: 200, tries: 3, replayed: true }, text)
    t.equal(await countPayments(databaseUrl, order), 1)
  })
}

t.test('over the same connection, what is paid already stays a conflict: ' +
  'it is not tried until the time is over', async (t) => {
  const order = await createOrder(url)
  await post(order + '/pay', CARD)
  const proxy = await startProxy(t, url, fates(3))
  const { status, text, tries } = await sendByFetch(order.replace(url, proxy.url) + '/pay', {
    headers: { authorization: `Bearer ${ALICE}`, 'content-type': 'application/json' }, body: JSON.stringify(CARD)
  })
  t.match({ status, json: JSON.parse(text) as unknown }, { status: 409, json: { code: 'ORDER_NOT_PAYABLE' } })
  t.equal(proxy.met.passes, 1)
  t.equal(tries, Object.values(proxy.met).reduce((sum, count) => sum + count, 0))
  const [row] = await query<{ sum: number }>(
    databaseUrl,
    'SELECT sum(amount)::int AS sum FROM payments WHERE order_id = $1',
    [order.slice(order.lastIndexOf('/') + 1)]
  )
  t.equal(row?.sum, 1999)
})
