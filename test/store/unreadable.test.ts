import type { Redis } from 'ioredis'
import t from 'tap'
import { recordId } from '../../plugin/core/record-id.ts'
import { encodeRunning } from '../../plugin/store/record.ts'
import { build, connectRedis } from '../helper.ts'
import { aClaim, anOutcome } from './harness.ts'
import { ownRedis } from './own-redis.ts'
import { settledRecord } from './settled.ts'

/*
 * What a client learns about a key whose record cannot be read: by then its request may have been carried out.
 */

const OWNED = { ...aClaim(), attempt: 1 }
const ofALaterVersion = (record: string | Buffer): string => `9${String(record).slice(1)}`

const RECORDS: Array<[what: string, put: (redis: Redis, key: string) => Promise<unknown>]> = [
  [
    'a running record of a later version',
    (redis, key) => redis.set(key, ofALaterVersion(encodeRunning(OWNED, 1, 2)), 'PX', 60_000)
  ],
  [
    'a settled record of a later version',
    (redis, key) => redis.set(key, ofALaterVersion(settledRecord(OWNED, anOutcome(), 2)), 'PX', 60_000)
  ],
  ['a text of somebody else’s', (redis, key) => redis.set(key, '{"cached":true}')],
  ['a hash of somebody else’s', (redis, key) => redis.hset(key, 'a', 'b')]
]

for (const [what, put] of RECORDS) {
  for (const options of [{}, { onStoreError: 'bypass' }, { onConflict: 'wait' }] as const) {
    t.test(`under ${what} nothing runs, with ${JSON.stringify(options)}, ` +
      'and the client is told that it may have been carried out', async (t) => {
      const server = await ownRedis(t)
      const redis = connectRedis(t, { url: server.url })
      const { app, listen } = await build(t, { redis, keyPrefix: 'idem:', ...options })
      let runs = 0
      app.post('/pay', { config: { idempotency: true } }, async () => ({ run: ++runs }))
      const client = await listen()
      const key = `idem:${recordId('global', 'k')}`
      await put(server.admin, key)
      const before = await server.admin.dumpBuffer(key)
      const requests = 10
      await server.forgetCommands()
      for (let i = 0; i < requests; i++) {
        const answer = await client.post('/pay', 'k', { amount: 1 })
        t.match(answer, { status: 409, json: { code: 'FST_IDEMPOTENCY_RECORD_UNREADABLE', retryable: false } })
        t.match(answer.json.detail, /may have been carried out/)
      }
      const commands = await server.commands()
      t.ok(
        Object.values(commands).reduce((sum, calls) => sum + calls, 0) <= requests,
        `one command each: ${JSON.stringify(commands)}`
      )
      t.equal(runs, 0)
      t.strictSame(await server.admin.dumpBuffer(key), before, 'the record stays as it is')
      t.match(await app.idempotency.find('k', 'global'), {
        state: 'unreadable',
        attempt: 0,
        statusCode: null,
        response: null
      })
      t.equal(await app.idempotency.forget('k', 'global'), true)
      t.match(
        await client.post('/pay', 'k', { amount: 1 }),
        { status: 200, json: { run: 1 } },
        'an operator lets it run'
      )
    })
  }
}
