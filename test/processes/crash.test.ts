import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { connectRedis, REDIS_URL, until } from '../helper.ts'
import { recordId } from '../../plugin/core/record-id.ts'
import { countPayments, createDatabase, createOrder, holdOrder, idOf, post, query } from '../demo/helper.ts'
import type { Answer } from '../demo/helper.ts'
import { startServer } from '../demo/process.ts'
import { decode } from '../../plugin/store/record.ts'
import { viewOf } from '../store/harness.ts'
import type { RedisView } from '../store/harness.ts'

/** Longer than any machine is busy: the lease runs out when the test says so. */
const LEASE = 60_000
const env = { REDIS_URL, IDEMPOTENCY_LEASE_MS: String(LEASE) }
/** A process that has just connected takes nothing over until its own lease time is over. */
const SUCCEEDS = { IDEMPOTENCY_LEASE_MS: '5000' }

/** Sends the request again, as a client would, until the answer is no longer that the key is taken. */
async function untilAnswered (send: () => Promise<Answer>): Promise<Answer> {
  let answer = await send()
  await until(async () => {
    if (answer.status === 409) answer = await send()
    return answer.status !== 409
  }, 'the take-over')
  return answer
}

/** The record of a payment of Alice's: its id, the lease that it is held by, and what the store's tests see of it. */
async function recordOf (
  t: Test,
  databaseUrl: string,
  key: string
): Promise<RedisView & { id: string, lease: number }> {
  const redis = connectRedis(t)
  const [alice] = await query<{ id: string }>(databaseUrl, "SELECT id FROM customers WHERE name = 'alice'")
  const id = recordId(alice?.id ?? '', key)
  const view = viewOf(redis, 'idem:')
  const found = decode(Buffer.from(await view.stored(id) ?? '', 'hex'))
  return { ...view, id, lease: 'lease' in found ? found.lease : NaN }
}

t.test('an owner killed in its handler: the retry is a 409 until the lease is over, then attempt 2 runs', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [victim, survivor] = [
    startServer(t, { ...env, DATABASE_URL: databaseUrl }),
    startServer(t, { ...env, ...SUCCEEDS, DATABASE_URL: databaseUrl })
  ]
  const [victimUrl, survivorUrl] = await Promise.all([victim.listening(), survivor.listening()])
  const order = await createOrder(survivorUrl)
  const path = `/orders/${idOf(order)}/pay`
  const key = randomUUID()

  const held = await holdOrder(t, databaseUrl, order)
  const lost = post(victimUrl + path, { method: 'card' }, { key }).then(() => 'answered', () => 'connection lost')
  await held.waitedFor(1)
  victim.kill('SIGKILL')
  await victim.ended
  t.equal(await lost, 'connection lost')
  await held.letGo()

  const refused: number[] = []
  let answer = await post(survivorUrl + path, { method: 'card' }, { key })
  for (let tries = 0; tries < 3; tries++) {
    refused.push(answer.status)
    answer = await post(survivorUrl + path, { method: 'card' }, { key })
  }
  const { id, lease, expireLease } = await recordOf(t, databaseUrl, key)
  await expireLease(id)
  answer = await untilAnswered(() => post(survivorUrl + path, { method: 'card' }, { key }))

  t.same([...new Set(refused)], [409], 'until then, every retry is a 409')
  t.equal(lease, LEASE)
  t.equal(answer.status, 200, 'the key is free again once that lease is over')
  t.equal(answer.replayed, false)
  t.equal(answer.json.status, 'paid')
  t.equal(await countPayments(databaseUrl, order), 1)
  const replay = await post(survivorUrl + path, { method: 'card' }, { key })
  t.equal(replay.replayed, true)
  t.equal(replay.text, answer.text)
  t.ok(survivor.stdout().includes('"attempt":2'), 'the handler was told that it is attempt 2')
})

t.test('an owner stopped for longer than its lease changes nothing when it goes on', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [late, successor] = [
    startServer(t, { ...env, DATABASE_URL: databaseUrl }),
    startServer(t, { ...env, ...SUCCEEDS, DATABASE_URL: databaseUrl })
  ]
  const [lateUrl, successorUrl] = await Promise.all([late.listening(), successor.listening()])
  const order = await createOrder(successorUrl)
  const path = `/orders/${idOf(order)}/pay`
  const key = randomUUID()

  const held = await holdOrder(t, databaseUrl, order)
  const lateAnswer = post(lateUrl + path, { method: 'card' }, { key })
  await held.waitedFor(1)
  late.kill('SIGSTOP')
  // Its transaction waits for the row in the database, which does not know that the process is stopped: the successor
  // must be the first to get the row once the stopped process has lost its lease.
  const { id, stored, expireLease } = await recordOf(t, databaseUrl, key)
  await expireLease(id)
  const successorAnswer = untilAnswered(() => post(successorUrl + path, { method: 'card' }, { key }))
  await held.waitedFor(2)
  await held.letGo()
  const settled = await successorAnswer
  t.equal(settled.status, 200)
  const before = await stored(id)
  t.ok(before, 'there is a record')

  late.kill('SIGCONT')
  const own = await lateAnswer
  t.equal(await countPayments(databaseUrl, order), 1)
  t.ok([200, 409, 500, 503].includes(own.status), `the late owner answers its own client (${own.status})`)
  await until(
    () => /another attempt owns the key|the lease of \d+ ms ran out/.test(late.stdout()),
    'the late owner noticing'
  )
  t.same(await stored(id), before, 'the record has not changed by a byte')
  const replay = await post(successorUrl + path, { method: 'card' }, { key })
  t.equal(replay.text, settled.text)
  t.equal(replay.replayed, true)
})
