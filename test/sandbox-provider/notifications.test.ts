import { randomUUID } from 'node:crypto'
import t from 'tap'
import { isSigned } from '../../demo-app/signature.ts'
import { until } from '../servers/until.ts'
import { merchantOf, PROVIDER_KEYS, startInbox, startSandboxProvider } from './helper.ts'

t.test('the merchant gets a signed notification of a charge, once if the answer is success', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const inbox = await startInbox(t)
  const number = randomUUID()
  const { json } = await merchantOf(sandbox).charge(number, { notifyUrl: inbox.url })
  await until(async () => (await sandbox.ledger()).notifications[0]?.delivered, 'it is delivered')
  t.equal(inbox.forms.length, 1)
  const [form = {}] = inbox.forms
  t.match(form, {
    notify_type: 'charge',
    out_trade_no: number,
    trade_no: json.tradeNo,
    amount: '1999',
    currency: 'EUR',
    status: 'charged',
    sign_type: 'RSA2'
  })
  const publicKey = await (await fetch(`${sandbox.url}/v1/public-key`)).text()
  t.equal(publicKey, PROVIDER_KEYS.publicKey)
  t.ok(isSigned(form, publicKey))
})

t.test('a notification is repeated, with the same id, until the answer is exactly success', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const answers = ['', 'fail', 'success\n', '{"ok":true}', 'success']
  const inbox = await startInbox(t, n => answers[n - 1] ?? 'told too often')
  await merchantOf(sandbox).charge(randomUUID(), { notifyUrl: inbox.url })
  await until(async () => (await sandbox.ledger()).notifications[0]?.delivered, 'it is delivered', 30_000)
  t.equal(inbox.forms.length, answers.length)
  t.equal(new Set(inbox.forms.map(form => JSON.stringify(form))).size, 1)
})

t.test('a notification is given up after the eight deliveries of the schedule', async (t) => {
  const sandbox = await startSandboxProvider(t, { notify: { scale: 1e-6 } })
  const inbox = await startInbox(t, () => 'no')
  await merchantOf(sandbox).charge(randomUUID(), { notifyUrl: inbox.url })
  await until(() => inbox.forms.length === 8, 'eight deliveries')
  // A ninth delivery would come within a tenth of a second. The whole schedule of a second merchant takes longer.
  const other = await startInbox(t, () => 'no')
  await merchantOf(sandbox).charge(randomUUID(), { notifyUrl: other.url })
  await until(() => other.forms.length === 8, 'eight deliveries')
  t.equal(inbox.forms.length, 8)
  t.match((await sandbox.ledger()).notifications[0], { attempts: 8, delivered: false })
})

t.test('a merchant whose server fails gets the notification when the server works again', async (t) => {
  const sandbox = await startSandboxProvider(t)
  let open = false
  const inbox = await startInbox(t, () => {
    if (!open) throw new Error('down')
    return 'success'
  })
  await merchantOf(sandbox).charge(randomUUID(), { notifyUrl: inbox.url })
  await until(() => inbox.forms.length > 0)
  open = true
  await until(async () => (await sandbox.ledger()).notifications[0]?.delivered, 'it is delivered', 30_000)
  t.pass('delivered')
})

t.test('deliveries can be doubled and their order changed, the same way for the same seed', async (t) => {
  const inbox = await startInbox(t)
  const sandbox = await startSandboxProvider(t, { seed: 7, notify: { duplicates: 1, shuffleMs: 300 } })
  const numbers: string[] = Array.from({ length: 8 }, () => randomUUID())
  for (const number of numbers) await merchantOf(sandbox).charge(number, { notifyUrl: inbox.url })
  await until(() => inbox.forms.length === 16, 'all are delivered twice')
  const order = inbox.forms.map(form => numbers.indexOf(form.out_trade_no ?? ''))
  t.notSame(order, [...order].sort((a, b) => a - b), 'not in the order of the charges')
})

t.test('refunds, declines and charges that complete later are notified too', async (t) => {
  const sandbox = await startSandboxProvider(t)
  const merchant = merchantOf(sandbox)
  const inbox = await startInbox(t)
  const number = randomUUID()
  await sandbox.fault({ kind: 'processing', number, delayMs: 50 })
  await merchant.charge(number, { notifyUrl: inbox.url })
  await until(() => inbox.forms.length === 1, 'the charge')
  await merchant.refund(randomUUID(), number, 1999, { notifyUrl: inbox.url })
  await merchant.charge(randomUUID(), { amount: 1002, notifyUrl: inbox.url })
  await until(() => inbox.forms.length === 3, 'all')
  t.same(
    new Set(inbox.forms.map(({ notify_type: type, status }) => `${type} ${status}`)),
    new Set(['charge charged', 'refund refunded', 'charge declined'])
  )
})
