import { randomUUID } from 'node:crypto'
import t from 'tap'
import { createDatabase, createOrder, get, idOf, keepLog, post, query, startApp, until } from './helper.ts'
import { merchantOf, startSandboxProvider } from '../sandbox-provider/helper.ts'

const CARD = { method: 'card' }
/** A URL without a server, so that no notification arrives. */
const NOBODY = 'http://127.0.0.1:9'
/** Options of the app that sweeps. A test starts it only when there is something to sweep. */
const SWEEPING = { sweepAfter: 300 }

const databaseUrl = await createDatabase(t)

async function statusOf (order: string): Promise<unknown> {
  return (await get(order)).json.status
}

t.test('a charge whose client never came back is settled, also if its notification got lost', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const options = { databaseUrl, provider: { ...sandbox.options, timeout: 2_000, publicUrl: NOBODY } }
  const { url } = await startApp(t, options)
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000 })
  t.equal((await post(`${order}/pay`, CARD)).status, 503)
  await startApp(t, { ...options, ...SWEEPING })
  await until(async () => await statusOf(order) === 'paid', 'the sweeper')
  t.equal((await sandbox.ledger()).charges.length, 1)
})

t.test('a charge that never happened is made impossible, and the order can be paid again', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const log = keepLog()
  const options = { databaseUrl, logger: log.logger, provider: { ...sandbox.options, publicUrl: NOBODY } }
  const { url } = await startApp(t, options)
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'fail' })
  const key = randomUUID()
  t.equal((await post(`${order}/pay`, CARD, { key })).status, 503)
  const [row] = await query<{ id: string }>(databaseUrl, 'SELECT id FROM payments WHERE order_id = $1', [idOf(order)])
  await startApp(t, { ...options, ...SWEEPING })
  await until(async () => await statusOf(order) === 'pending', 'the sweeper')
  const late = await merchantOf(sandbox).charge(row?.id ?? '')
  t.match(late, { status: 409, json: { code: 'CLOSED' } }, 'a process that charges late is refused')
  t.ok(log.find('an abandoned payment was settled'))
  t.equal((await post(`${order}/pay`, CARD)).status, 200)
})

t.test('a refund that was promised is carried out late rather than not', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const options = { databaseUrl, provider: { ...sandbox.options, publicUrl: NOBODY } }
  const { url } = await startApp(t, options)
  const order = await createOrder(url)
  await post(`${order}/pay`, CARD)
  await sandbox.fault({ kind: 'fail', operation: 'refund' })
  t.equal((await post(`${order}/refund`, {})).status, 503)
  await startApp(t, { ...options, ...SWEEPING })
  await until(async () => await statusOf(order) === 'refunded', 'the sweeper')
  t.equal((await sandbox.ledger()).refunds.filter(({ status }) => status === 'refunded').length, 1)
})

t.test('while the provider cannot say what became of it, the order stays as it is', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const log = keepLog()
  const options = {
    databaseUrl,
    logger: log.logger,
    provider: { ...sandbox.options, timeout: 2_000, publicUrl: NOBODY }
  }
  const { url } = await startApp(t, options)
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000 })
  await sandbox.fault({ kind: 'fail', operation: 'query', times: 3 })
  t.equal((await post(`${order}/pay`, CARD)).status, 503)
  await startApp(t, { ...options, ...SWEEPING })
  await until(() => log.find('an abandoned payment cannot be settled yet'), 'a sweep in vain')
  await until(async () => await statusOf(order) === 'paid', 'a later sweep')
})

t.test('several apps that sweep at once settle each payment once', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const options = { databaseUrl, provider: { ...sandbox.options, timeout: 2_000, publicUrl: NOBODY } }
  const { url } = await startApp(t, options)
  const orders = await Promise.all(Array.from({ length: 10 }, () => createOrder(url)))
  await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000, times: 10 })
  await Promise.all(orders.map(order => post(`${order}/pay`, CARD)))
  await Promise.all([1, 2, 3].map(() => startApp(t, { ...options, ...SWEEPING })))
  await until(async () => (await Promise.all(orders.map(statusOf))).every(status => status === 'paid'), 'the sweepers')
  const select = 'SELECT version FROM orders WHERE id = ANY($1)'
  const versions = await query<{ version: number }>(databaseUrl, select, [orders.map(idOf)])
  t.same(new Set(versions.map(({ version }) => version)), new Set([3]), 'paying, paid')
})

t.test('a payment that cannot be settled does not keep those after it from being settled', async (t) => {
  const databaseUrl = await createDatabase(t)
  const sandbox = await startSandboxProvider(t)
  const log = keepLog()
  const options = {
    databaseUrl,
    logger: log.logger,
    provider: { ...sandbox.options, timeout: 2_000, publicUrl: NOBODY }
  }
  const { url } = await startApp(t, options)
  const orders = [await createOrder(url), await createOrder(url)]
  await sandbox.fault({ kind: 'timeout-after-charge', delayMs: 60_000, times: 2 })
  for (const order of orders) await post(`${order}/pay`, CARD)
  const [first = '', second = ''] = orders
  await query(
    databaseUrl,
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$"
  )
  await query(databaseUrl, `CREATE TRIGGER refuse BEFORE UPDATE OF status ON payments FOR EACH ROW
    WHEN (NEW.order_id = '${idOf(first)}') EXECUTE FUNCTION refuse()`)
  await startApp(t, { ...options, ...SWEEPING })
  await until(async () => await statusOf(second) === 'paid', 'the sweeper')
  t.equal(await statusOf(first), 'paying')
  t.ok(log.find('an abandoned payment could not be settled, trying again later'))
  await query(databaseUrl, 'DROP TRIGGER refuse ON payments')
  await until(async () => await statusOf(first) === 'paid', 'a later sweep')
})

t.test('a payment that somebody still works on is left alone', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const { url } = await startApp(t, {
    databaseUrl,
    provider: { ...sandbox.options, publicUrl: NOBODY },
    sweepAfter: 60_000
  })
  const order = await createOrder(url)
  await sandbox.fault({ kind: 'slow', delayMs: 1_500, operation: 'charge' })
  const paid = post(`${order}/pay`, CARD)
  await until(async () => await statusOf(order) === 'paying')
  t.equal((await paid).status, 200)
})
