import t from 'tap'
import type { Test } from 'tap'
import { createDatabase, createOrder, post, startApp } from './helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'

const CARD = { method: 'card' }
const OF_THE_JOURNAL = /"idempotency_journal"/
const LOOK = /^SELECT fingerprint, .* FROM "idempotency_journal"/
const RECORD = /^WITH put AS \(\s*INSERT INTO "idempotency_journal"/

function looks (statements: string[]): number {
  return statements.filter(statement => LOOK.test(statement)).length
}

interface Counting {
  url: string
  /** Lets the provider fail once. */
  fail: () => Promise<void>
  /** Removes the key `k` from Redis. */
  forget: () => Promise<unknown>
  /** The statements during `work`, in their order. */
  statementsOf: (work: () => Promise<unknown>) => Promise<string[]>
}

/** Starts an app and counts its statements. */
async function counting (t: Test): Promise<Counting> {
  const databaseUrl = await createDatabase(t)
  // The provider sends its notifications to a port without a server, because their statements would count too.
  const sandbox = await startSandboxProvider(t)
  const { app, url } = await startApp(t, {
    databaseUrl,
    provider: { ...sandbox.options, publicUrl: 'http://127.0.0.1:9' }
  })
  const statements: string[] = []
  app.pg.pool.on('acquire', (client) => {
    // Each connection is wrapped once, however often it is acquired.
    if (Object.hasOwn(client, 'query')) return
    const query = client.query.bind(client) as (...args: unknown[]) => unknown
    client.query = ((...args: unknown[]) => {
      statements.push(String(args[0]).trim())
      return query(...args)
    }) as typeof client.query
  })
  const { rows: [alice] } = await app.pg.query<{ id: string }>("SELECT id FROM customers WHERE name = 'alice'")
  return {
    url,
    fail: () => sandbox.fault({ kind: 'fail' }),
    forget: async () => app.idempotency.forget('k', alice?.id ?? ''),
    async statementsOf (work) {
      const before = statements.length
      await work()
      return statements.slice(before)
    }
  }
}

t.test('a payment costs 16 statements, three for the journal; a replay costs one, none for the journal', async (t) => {
  const { url, statementsOf } = await counting(t)
  const order = await createOrder(url)
  const pay = async () => post(`${order}/pay`, CARD, { key: 'k' })
  const first = await statementsOf(pay)
  t.match(first, [
    /^SELECT id, name FROM customers/,
    // The plugin looks into the journal before the handler asks the provider.
    LOOK,
    /^BEGIN/,
    /^SELECT .* FROM orders .* FOR UPDATE/,
    /^SELECT .* FROM payments/,
    /^INSERT INTO payments/,
    /^UPDATE orders/,
    /^COMMIT/,
    /^BEGIN/,
    /^SELECT .* FROM orders .* FOR UPDATE/,
    /^SELECT .* FROM payments/,
    /^UPDATE orders/,
    /^UPDATE payments/,
    RECORD,
    /^COMMIT/,
    // The plugin looks whether the transaction was committed.
    LOOK
  ])
  t.equal(first.length, 16)
  const replay = await statementsOf(pay)
  t.equal(replay.length, 1)
  t.match(replay, [/^SELECT id, name FROM customers/])
})

t.test('an order costs 6 statements, of which two are the journal’s', async (t) => {
  const { url, statementsOf } = await counting(t)
  const created = await statementsOf(async () => createOrder(url))
  t.match(created, [/^SELECT id, name FROM customers/, /^BEGIN/, /^INSERT INTO orders/, RECORD, /^COMMIT/, LOOK])
  t.equal(created.length, 6)
})

t.test('a refusal is journalled in one statement; a key that Redis has forgotten costs one look before', async (t) => {
  const { url, statementsOf, forget } = await counting(t)
  const order = await createOrder(url)
  await post(`${order}/pay`, CARD, { key: 'k' })
  const refused = await statementsOf(async () => t.equal((await post(`${order}/pay`, CARD)).status, 409))
  t.match(refused.filter(statement => OF_THE_JOURNAL.test(statement)), [LOOK, RECORD])
  await forget()
  const statements = await statementsOf(async () => {
    t.equal((await post(`${order}/pay`, CARD, { key: 'k' })).status, 200)
  })
  t.match(statements, [/^SELECT id, name FROM customers/, LOOK])
  t.equal(statements.length, 2)
})

t.test('an attempt whose outcome was not known costs two looks, and so does the next one', async (t) => {
  const { url, statementsOf, fail } = await counting(t)
  const order = await createOrder(url)
  const pay = async (status: number): Promise<void> => {
    t.equal((await post(`${order}/pay`, CARD, { key: 'k' })).status, status)
  }
  await fail()
  t.equal(looks(await statementsOf(async () => pay(503))), 2)
  t.equal(looks(await statementsOf(async () => pay(200))), 2)
})
