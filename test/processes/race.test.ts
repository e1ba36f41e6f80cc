import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { countPayments, createDatabase, createOrder, holdOrder, idOf, post, query } from '../demo/helper.ts'
import { startServer } from '../demo/process.ts'
import { REDIS_URL } from '../helper.ts'

const DUPLICATES = 100

function twoServers (t: Test, databaseUrl: string, env = {}): Promise<[string, string]> {
  const start = (): Promise<string> => startServer(t, { REDIS_URL, DATABASE_URL: databaseUrl, ...env }).listening()
  return Promise.all([start(), start()])
}

/** Increases with each change of the order. */
async function versionOf (databaseUrl: string, order: string): Promise<number> {
  const [row] = await query<{ version: number }>(databaseUrl, 'SELECT version FROM orders WHERE id = $1', [idOf(order)])
  return row?.version ?? NaN
}

t.test('a hundred identical payments at the same moment against two processes', async (t) => {
  const databaseUrl = await createDatabase(t)
  const urls = await twoServers(t, databaseUrl)
  const order = await createOrder(urls[0])
  const paths = urls.map(url => `${url}/orders/${idOf(order)}/pay`)
  const key = randomUUID()
  const versionBefore = await versionOf(databaseUrl, order)

  // The handler that wins is held until all others have been answered, so that none comes too late to collide.
  const held = await holdOrder(t, databaseUrl, order)
  const answers = Array.from({ length: DUPLICATES }, (_, i) =>
    post(paths[i % 2] as string, { method: 'card' }, { key })
  )
  const refused = await new Promise<number>((resolve) => {
    let count = 0
    for (const answer of answers) {
      void answer.then(({ status }) => {
        if (status === 409 && ++count === DUPLICATES - 1) resolve(count)
      })
    }
  })
  await held.waitedFor(1)
  await held.letGo()
  const settled = await Promise.all(answers)

  t.test('charge once: one run, one payment', async (t) => {
    t.equal(await countPayments(databaseUrl, order), 1)
    t.equal(await versionOf(databaseUrl, order), versionBefore + 2, 'paying, paid')
  })

  t.test('answer one with the receipt and the others with a 409 that says when to come back', async (t) => {
    t.equal(refused, DUPLICATES - 1)
    for (const { status, headers, json } of settled.filter(answer => answer.status !== 200)) {
      t.equal(status, 409)
      t.equal(json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
      t.equal(headers.get('retry-after'), '1')
    }
  })

  t.test('answer every retry with the same bytes, whichever process it reaches', async (t) => {
    const first = settled.find(({ status }) => status === 200)
    const retries = await Promise.all(
      Array.from({ length: DUPLICATES }, (_, i) => post(paths[i % 2] as string, { method: 'card' }, { key }))
    )
    for (const { status, text, replayed } of retries) {
      t.equal(status, 200)
      t.equal(text, first?.text)
      t.equal(replayed, true)
    }
    t.equal(await countPayments(databaseUrl, order), 1)
  })
})

t.test('the same with onConflict: wait is a hundred identical receipts', async (t) => {
  const databaseUrl = await createDatabase(t)
  const urls = await twoServers(t, databaseUrl, { IDEMPOTENCY_ON_CONFLICT: 'wait' })
  const order = await createOrder(urls[0])
  const paths = urls.map(url => `${url}/orders/${idOf(order)}/pay`)
  const key = randomUUID()
  const held = await holdOrder(t, databaseUrl, order)
  const answers = Array.from({ length: DUPLICATES }, (_, i) =>
    post(paths[i % 2] as string, { method: 'card' }, { key })
  )
  await held.waitedFor(1)
  await held.letGo()
  const settled = await Promise.all(answers)
  t.same(new Set(settled.map(({ status }) => status)), new Set([200]))
  t.equal(new Set(settled.map(({ text }) => text)).size, 1)
  t.equal(settled.filter(({ replayed }) => !replayed).length, 1)
  t.equal(await countPayments(databaseUrl, order), 1)
})
