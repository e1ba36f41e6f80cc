import { randomUUID } from 'node:crypto'
import t from 'tap'
import { recordId } from '../../plugin/core/record-id.ts'
import { REDIS_URL } from '../helper.ts'
import { viewOf } from '../store/harness.ts'
import {
  connectRedis,
  countPayments,
  createDatabase,
  createOrder,
  holdOrder,
  idOf,
  keepLog,
  newPrefix,
  post,
  query,
  startApp,
  until
} from './helper.ts'
import type { Answer } from './helper.ts'
import { startServer } from './process.ts'

const CARD = { method: 'card' }
const UNKNOWN_OUTCOME = 'the outcome of an earlier attempt is not known'

/** Sends the request again, as a client does, until the lease of the key's last owner is over. */
async function retryUntilAnswered (
  send: () => Promise<Answer>,
  whenRefused: () => Promise<void> = async () => {}
): Promise<{ answer: Answer, refusals: Answer[] }> {
  const refusals: Answer[] = []
  let answer: Answer | undefined
  await until(async () => {
    const latest = await send()
    if (latest.json.code === 'FST_IDEMPOTENCY_IN_PROGRESS') {
      refusals.push(latest)
      await whenRefused()
    } else {
      answer = latest
    }
    return answer
  }, 'the lease is over')
  if (answer === undefined) throw new Error('never answered')
  return { answer, refusals }
}

t.test('a server that is killed during a payment: the retry waits for its lease, then charges once', async (t) => {
  const databaseUrl = await createDatabase(t)
  const server = startServer(t, { DATABASE_URL: databaseUrl, REDIS_URL, IDEMPOTENCY_LEASE_MS: '60000' })
  const order = await createOrder(await server.listening())
  const held = await holdOrder(t, databaseUrl, order)
  const key = randomUUID()
  const lost = post(`${order}/pay`, CARD, { key })
  lost.catch(() => {})
  await held.waitedFor(1)
  server.kill('SIGKILL')
  await t.rejects(lost)
  await server.ended
  await held.letGo()

  const log = keepLog()
  // The default key prefix, which the server had.
  const { url } = await startApp(t, { databaseUrl, logger: log.logger, idempotency: { keyPrefix: 'idem:' } })
  const pay = () => post(`${url}/orders/${idOf(order)}/pay`, CARD, { key })
  const { expireLease } = viewOf(connectRedis(t), 'idem:')
  const [alice] = await query<{ id: string }>(databaseUrl, "SELECT id FROM customers WHERE name = 'alice'")
  const { answer, refusals } = await retryUntilAnswered(pay, () => expireLease(recordId(alice?.id ?? '', key)))
  t.ok(refusals.length > 0, 'the dead owner still had the key')
  t.ok(refusals.every(({ headers }) => Number(headers.get('retry-after')) > 0))
  t.equal(answer.status, 200)
  t.notOk(answer.replayed)
  t.match(log.find(UNKNOWN_OUTCOME), { attempt: 2 })
  t.equal((await pay()).text, answer.text)
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('a charge that was committed but not recorded: the retry gets its receipt and charges nothing', async (t) => {
  const databaseUrl = await createDatabase(t)
  const keyPrefix = newPrefix()
  // `closeTimeout` 0: when the first app closes, it does not wait for Redis, which it cannot reach any more.
  const idempotency = { keyPrefix, closeTimeout: 0 }
  const redis = connectRedis(t)
  const first = await startApp(t, { databaseUrl, redis, idempotency: { ...idempotency, lease: 1_000 } })
  const order = await createOrder(first.url)
  const held = await holdOrder(t, databaseUrl, order)
  const key = randomUUID()
  const charged = post(`${order}/pay`, CARD, { key })
  await held.waitedFor(1)
  // From here on, this app cannot reach Redis.
  redis.disconnect()
  await held.letGo()
  const receipt = await charged
  t.equal(receipt.status, 200, 'a finished charge is never turned into an error')

  const second = await startApp(t, { databaseUrl, redis: connectRedis(t, { prefix: keyPrefix }), idempotency })
  const { answer } = await retryUntilAnswered(() => post(`${second.url}/orders/${idOf(order)}/pay`, CARD, { key }))
  t.ok(answer.replayed, 'by the journal: nothing ran again')
  t.equal(answer.status, 200)
  t.equal(answer.text, receipt.text)
  t.equal(await countPayments(databaseUrl, order), 1)
})

t.test('a payment that fails internally does not tell the client why, and can be tried again at once', async (t) => {
  const databaseUrl = await createDatabase(t)
  const log = keepLog()
  const { app, url } = await startApp(t, { databaseUrl, logger: log.logger })
  const order = await createOrder(url)
  const key = randomUUID()
  await app.pg.query('ALTER TABLE payments RENAME TO hidden')
  const failed = await post(`${order}/pay`, CARD, { key })
  await app.pg.query('ALTER TABLE hidden RENAME TO payments')
  t.match(failed, { status: 500, json: { code: 'INTERNAL_ERROR', retryable: true } })
  t.notMatch(failed.text, 'payments')
  t.match(log.text(), /relation \\"payments\\" does not exist/, 'the log says it')
  const retry = await post(`${order}/pay`, CARD, { key })
  t.equal(retry.status, 200)
  t.match(log.find(UNKNOWN_OUTCOME), { attempt: 2 })
})
