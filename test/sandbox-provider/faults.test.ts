import { randomUUID } from 'node:crypto'
import t from 'tap'
import { until } from '../servers/until.ts'
import { merchantOf, startSandboxProvider } from './helper.ts'

const sandbox = await startSandboxProvider(t)
const merchant = merchantOf(sandbox)

t.test('with the fault "fail" it does not charge, and the next request charges', async (t) => {
  const number = randomUUID()
  await sandbox.fault({ kind: 'fail', number })
  t.match(await merchant.charge(number), { status: 500, json: { code: 'SANDBOX_FAULT' } })
  t.equal((await merchant.query(number)).status, 404)
  t.match(await merchant.charge(number), { status: 200, json: { status: 'charged' } })
})

t.test('with the fault "timeout-after-charge" it charges, and does not answer in time', async (t) => {
  const number = randomUUID()
  await sandbox.fault({ kind: 'timeout-after-charge', number, delayMs: 60_000 })
  let answered = false
  merchant.charge(number).then(() => { answered = true }, () => {})
  await until(async () => (await merchant.query(number)).status === 200, 'the charge')
  t.match(await merchant.query(number), { json: { status: 'charged' } })
  t.notOk(answered)
})

t.test('with the fault "decline" for a number it declines only that number, as often as the fault says', async (t) => {
  const numbers = [randomUUID(), randomUUID()] as const
  await sandbox.fault({ kind: 'decline', number: numbers[0] })
  t.match(await merchant.charge(numbers[1]), { json: { status: 'charged' } })
  t.match(await merchant.charge(numbers[0]), { json: { status: 'declined' } })
})

t.test('with the fault "processing" a charge completes later, and cannot be closed before', async (t) => {
  const number = randomUUID()
  await sandbox.fault({ kind: 'processing', number, delayMs: 100 })
  t.match(await merchant.charge(number), { json: { status: 'processing' } })
  t.match(await merchant.close(number), { json: { status: /processing|charged/ } }, 'and cannot be closed any more')
  await until(async () => (await merchant.query(number)).json.status === 'charged', 'it is charged')
})

t.test('with the fault "slow" it answers late, as often as the fault says', async (t) => {
  const number = randomUUID()
  await sandbox.fault({ kind: 'slow', number, times: 2, delayMs: 150 })
  const times: number[] = []
  for (let i = 0; i < 3; i++) {
    const start = performance.now()
    t.equal((await merchant.charge(number)).status, 200)
    times.push(performance.now() - start)
  }
  t.ok((times[0] ?? 0) >= 145 && (times[1] ?? 0) >= 145, times.join(', '))
  t.equal((await sandbox.ledger()).faultsWaiting, 0)
})

t.test('a fault can also strike queries and refunds', async (t) => {
  const number = randomUUID()
  await merchant.charge(number)
  await sandbox.fault({ kind: 'fail', number, operation: 'query' })
  t.equal((await merchant.query(number)).status, 500)
  t.equal((await merchant.query(number)).status, 200)
  const refund = randomUUID()
  await sandbox.fault({ kind: 'fail', number: refund, operation: 'refund' })
  t.equal((await merchant.refund(refund, number)).status, 500)
  t.match(await merchant.refund(refund, number), { json: { status: 'refunded' } })
})
