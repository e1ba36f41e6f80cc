import { randomUUID } from 'node:crypto'
import t from 'tap'
import { connectRedis, REDIS_URL, until } from '../helper.ts'
import { recordId } from '../../plugin/request/key.ts'
import { countPayments, createDatabase, createOrder, holdOrder, idOf, post, query } from '../demo/helper.ts'
import { startServer } from '../demo/process.ts'

const LEASE = 1_500
const env = { REDIS_URL, IDEMPOTENCY_LEASE_MS: String(LEASE) }

t.test('an owner killed inside its handler: the retry is a 409 until the lease is over, then runs as attempt 2', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [victim, survivor] = [startServer(t, { ...env, DATABASE_URL: databaseUrl }), startServer(t, { ...env, DATABASE_URL: databaseUrl })]
  const [victimUrl, survivorUrl] = await Promise.all([victim.listening(), survivor.listening()])
  const order = await createOrder(survivorUrl)
  const path = `/orders/${idOf(order)}/pay`
  const key = randomUUID()

  const held = await holdOrder(t, databaseUrl, order)
  const lost = post(victimUrl + path, { method: 'card' }, { key }).then(() => 'answered', () => 'connection lost')
  await held.waitedFor(1)
  victim.kill('SIGKILL')
  await victim.ended
  const diedAt = performance.now()
  t.equal(await lost, 'connection lost')
  await held.letGo()

  const refused: number[] = []
  let answer = await post(survivorUrl + path, { method: 'card' }, { key })
  await until(async () => {
    if (answer.status === 200) return true
    refused.push(answer.status)
    answer = await post(survivorUrl + path, { method: 'card' }, { key })
    return false
  }, 'the take-over')
  const waited = performance.now() - diedAt

  t.same([...new Set(refused)], [409], 'until then, every retry is a 409')
  t.ok(waited < LEASE + 1_000, `the key is free again a lease after the crash at the latest (${Math.round(waited)} ms)`)
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
  const [late, successor] = [startServer(t, { ...env, DATABASE_URL: databaseUrl }), startServer(t, { ...env, DATABASE_URL: databaseUrl })]
  const [lateUrl, successorUrl] = await Promise.all([late.listening(), successor.listening()])
  const order = await createOrder(successorUrl)
  const path = `/orders/${idOf(order)}/pay`
  const key = randomUUID()
  const redis = connectRedis(t)
  const [alice] = await query<{ id: string }>(databaseUrl, "SELECT id FROM customers WHERE name = 'alice'")
  const record = (): Promise<Buffer | null> => redis.getBuffer(`idem:${recordId(alice?.id ?? '', key)}`)

  const held = await holdOrder(t, databaseUrl, order)
  const lateAnswer = post(lateUrl + path, { method: 'card' }, { key })
  await held.waitedFor(1)
  late.kill('SIGSTOP')
  // Its transaction waits for the row in the database, which does not care that the process is stopped: let the
  // successor be the first to get it once the stopped one has lost its lease.
  const successorAnswer = (async () => {
    let answer = await post(successorUrl + path, { method: 'card' }, { key })
    await until(async () => {
      if (answer.status !== 409) return true
      answer = await post(successorUrl + path, { method: 'card' }, { key })
      return false
    }, 'the take-over', 30_000)
    return answer
  })()
  await held.waitedFor(2)
  await held.letGo()
  const settled = await successorAnswer
  t.equal(settled.status, 200)
  const before = await record()
  t.ok(before, 'there is a record')

  late.kill('SIGCONT')
  const own = await lateAnswer
  t.equal(await countPayments(databaseUrl, order), 1)
  t.ok([200, 409, 500, 503].includes(own.status), `the late owner answers its own client (${own.status})`)
  await until(() => /another attempt owns the key|the lease of \d+ ms ran out/.test(late.stdout()), 'the late owner noticing')
  t.same(await record(), before, 'the record has not changed by a byte')
  const replay = await post(successorUrl + path, { method: 'card' }, { key })
  t.equal(replay.text, settled.text)
  t.equal(replay.replayed, true)
})
