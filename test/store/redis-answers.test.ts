import { inspect } from 'node:util'
import { ErrorReply, SimpleError } from 'redis'
import t from 'tap'
import type { Test } from 'tap'
import { RecordUnreadableError, StoreRefusedError } from '../../plugin/index.ts'
import { explained } from '../../plugin/store/redis-answers.ts'
import type { RedisClient, RedisStore } from '../../plugin/store/redis.ts'
import { connectRedis } from '../helper.ts'
import { aClaim, anOutcome, ID, never, openStore, own, redisUnderTest, waitFor } from './harness.ts'
import type { RedisUnderTest } from './harness.ts'

/*
 * It must not matter what a client makes of Redis's answers, and no answer, however odd, may be taken for another one.
 */

/** A store beside the others whose client gives other answers to scripts, and how many commands it has sent. */
function answering (
  t: Test,
  { redis, keyPrefix }: RedisUnderTest,
  evalsha: () => Promise<unknown>
): { store: RedisStore, sent: () => number } {
  let sent = 0
  const counted = <Args extends unknown[], Result>(call: (...args: Args) => Result) => (...args: Args): Result => {
    sent++
    return call(...args)
  }
  const client = Object.create(redis, {
    setBuffer: { value: counted(redis.setBuffer.bind(redis) as RedisClient['setBuffer']) },
    evalsha: { value: counted(evalsha) }
  }) as typeof redis
  return { store: openStore(t, client, keyPrefix), sent: () => sent }
}

const ODD: Array<[what: string, answer: unknown]> = [
  ['nothing', null],
  ['undefined', undefined],
  ['an empty text', ''],
  ['a word', 'OK'],
  ['an empty array', []],
  ['a number that is no answer', 7],
  ['that number as text', '7'],
  ['a fraction', 0.5],
  ['true', true],
  ['an object', {}],
  ['an unknown answer', [9, 1]],
  ['its text', ['9', '1']],
  ['no detail', [1]],
  ['no lease', [0]],
  ['a lease that is no number', [0, 'x', 0]]
]

for (const [what, odd] of ODD) {
  t.test(`a script that is answered with ${what} is an error, never taken for another answer`, async (t) => {
    const under = await redisUnderTest(t)
    const owned = await own(under.store)
    const { store, sent } = answering(t, under, async () => odd)
    const error = { message: 'Redis gave an answer that the store does not know' }
    await t.rejects(store.claim(ID, aClaim()), error, 'claim')
    t.equal(sent(), 2, 'SET and the script, and no more')
    for (const method of ['renew', 'release', 'withdraw', 'markLeft'] as const) {
      await t.rejects(store[method](ID, owned), error, method)
    }
    await t.rejects(store.complete(ID, owned, anOutcome()), error, 'complete')
    t.equal(sent(), 7)
  })
}

t.test('a record that is another one with each look is an error soon', async (t) => {
  const under = await redisUnderTest(t)
  await own(under.store)
  const { store, sent } = answering(t, under, async () => [2])
  await t.rejects(store.claim(ID, aClaim()), Error)
  t.ok(sent() <= 6, `${sent()} commands`)
})

for (const answer of [0, '0', 7, null]) {
  t.test(`a waiter that keeps hearing of nothing to wait for (${String(answer)}) pauses each time`, async (t) => {
    const under = await redisUnderTest(t)
    await own(under.store)
    const { store } = answering(t, under, async () => answer)
    await store.wait(ID, 600_000, never())
    const began = performance.now()
    for (let i = 0; i < 10; i++) await store.wait(ID, 600_000, never())
    t.ok(performance.now() - began >= 10 * 15, 'no more than fifty looks a second')
  })
}

const CLIENTS: Array<[what: string, options: Parameters<typeof redisUnderTest>[1]]> = [
  ['gives numbers as text', { stringNumbers: true }],
  ['gives numbers as text, without autopipelining', { stringNumbers: true, enableAutoPipelining: false }],
  ['speaks RESP2', { protocol: 2 }],
  ['speaks RESP2 and gives numbers as text', { protocol: 2, stringNumbers: true }]
]

for (const [what, options] of CLIENTS) {
  t.test(`a duplicate that waits on a client that ${what} asks no more than on another`, async (t) => {
    const { store, other, redis, isAwaited } = await redisUnderTest(t, options)
    const owned = await own(store)
    t.match(await other.claim(ID, aClaim()), { state: 'running' })
    let isOver = false
    const { ended } = await waitFor(() => other.wait(ID, 600_000, never()), () => isAwaited(ID))
    void ended.then(() => { isOver = true })
    t.equal(await store.renew(ID, owned), true)
    await other.find(ID)
    t.equal(isOver, false, 'a renewal does not wake it')
    t.equal(await store.complete(ID, owned, anOutcome()), true)
    await ended
    t.match(await other.claim(ID, aClaim()), { state: 'settled', outcome: anOutcome() })
    t.equal(await redis.ping(), 'PONG')
  })
}

/** Errors as ioredis creates them. */
function replyError (message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' })
}

const REFUSALS: Array<[what: string, error: Error, message: string]> = [
  ['ioredis', replyError('OOM command not allowed when used memory > \'maxmemory\'.'), 'OOM'],
  ['ioredis, without a code', replyError('failed: tok-secret'), 'ERR'],
  ['the npm package redis', new ErrorReply('READONLY You can\'t write against a read only replica.'), 'READONLY'],
  ['the npm package redis, derived', new SimpleError('NOREPLICAS Not enough good replicas to write.'), 'NOREPLICAS'],
  ['a client whose names were minified', new (class a extends Error {})('MOVED 337 10.0.0.1:6379'), 'MOVED']
]

for (const [what, error, code] of REFUSALS) {
  t.test(`an error reply is known as one, and told by its first word: ${what}`, async (t) => {
    const found = explained(error)
    t.ok(found instanceof StoreRefusedError)
    t.match(found, { message: `Redis refused the command: ${code}`, cause: error })
    t.equal(explained(found), found, 'once')
  })
}

t.test('no error exposes what was sent, if a server quotes it or a client attaches it to the error', async (t) => {
  const quoted = replyError('ERR unknown command \'evalsha\', with args beginning with: \'tok-secret\'')
  for (const error of [
    quoted,
    Object.assign(replyError('OOM'), { command: { name: 'evalsha', args: ['tok-secret'] } })
  ]) {
    const found = explained(error) as Error
    t.ok(found instanceof StoreRefusedError)
    t.match(found.cause, { name: 'ReplyError', message: error === quoted ? 'ERR unknown command \'evalsha\'' : 'OOM' })
    t.notMatch(inspect(found, { depth: 10, showHidden: true }), 'tok-secret')
  }
})

for (const error of [
  replyError('WRONGTYPE Operation against a key holding the wrong kind of value'),
  replyError('IDEMPOTENCY the stored value is not a record of a version that can be read script: 1, on @user_script:1.')
]) {
  t.test(`an error reply says that the record cannot be read: ${error.message.split(' ')[0]}`, async (t) => {
    t.ok(explained(error) instanceof RecordUnreadableError)
    t.match(explained(error), { cause: error })
  })
}

const UNKNOWN: unknown[] = [
  new Error('Connection is closed.'),
  new Error('Command timed out'),
  Object.assign(new Error('EPIPE while writing'), { code: 'EPIPE' }),
  Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }),
  new Error(
    'Reached the max retries per request limit (which is 20). Refer to "maxRetriesPerRequest" option for details.'
  ),
  new Error('')
]

t.test('any other error leaves open what became of the command, and is handed on as it is', async (t) => {
  for (const error of UNKNOWN) t.equal(explained(error), error, String(error))
  for (const odd of ['OOM as a text', null, undefined]) {
    t.match(explained(odd), { name: typeof odd, message: 'not an Error' })
  }
})

t.test('a command that is refused among others of one pipeline is refused alone', async (t) => {
  const { store, redis, keyPrefix } = await redisUnderTest(t)
  await redis.hset(`${keyPrefix}hash`, 'a', 'b')
  const ids = ['one', 'hash', 'two']
  const results = await Promise.allSettled(ids.map(id => store.claim(id, aClaim())))
  t.match(results, [
    { value: { state: 'claimed' } },
    { reason: RecordUnreadableError },
    { value: { state: 'claimed' } }
  ])
  const plain = connectRedis(t, { enableAutoPipelining: false })
  t.equal(await plain.type(`${keyPrefix}hash`), 'hash')
})
