import t from 'tap'
import { connectRedis, until } from '../helper.ts'
import { layOut, missing, startEarlier } from './earlier.ts'
import { aClaim, anOutcome, ID, never, openStore, own, redisUnderTest } from './harness.ts'
import { ownRedis } from './own-redis.ts'

/*
 * What the other processes learn when one of them forgets a key.
 */

/** Another record's id. */
const OTHER_ID = ID.replace(/./, 'x')

t.test('a process that has a connection for its waiters learns which key another one has forgotten', async (t) => {
  const { store, other, isAwaited } = await redisUnderTest(t)
  const forgotten: string[] = []
  const stop = other.onForgotten?.(id => { forgotten.push(id) })
  const owned = await own(store)
  const waiting = other.wait(ID, 600_000, never())
  await until(() => isAwaited(ID), 'the waiter is noted')
  t.equal(await store.forget(OTHER_ID), false)
  await until(() => forgotten.length === 1, 'the message')
  t.same(forgotten, [OTHER_ID], 'even if there was no record, since another process may still have its outcome')
  await store.complete(ID, owned, anOutcome())
  await waiting
  t.equal(await store.forget(ID), true)
  await until(() => forgotten.length === 2, 'the message')
  t.same(forgotten, [OTHER_ID, ID])
  stop?.()
  // The messages of a channel arrive in order: a listener that was added later hears of the last one.
  const later: string[] = []
  other.onForgotten?.(id => { later.push(id) })
  await store.forget(ID)
  await until(() => later.length === 1, 'the message')
  t.equal(forgotten.length, 2, 'a listener that was removed hears nothing more')
})

t.test('a process of an earlier release ignores that a key was forgotten, and is still woken', {
  skip: missing()
}, async (t) => {
  const { store, keyPrefix, redis, isAwaited } = await redisUnderTest(t, { recordVersion: 1 })
  const earlier = startEarlier(t, layOut(t), keyPrefix)
  const owned = await own(store)
  let hasEnded = false
  const waiting = earlier.wait(ID, 600_000).finally(() => { hasEnded = true })
  await until(async () => (await redis.pubsub('NUMSUB', `${keyPrefix}settled`))[1] === 1, 'the connection')
  await until(() => isAwaited(ID), 'the waiter is noted')
  await store.forget(OTHER_ID)
  // This answer comes after the message has been handled or is about to be.
  t.match(await earlier.find(ID), { state: 'running' })
  t.notOk(hasEnded)
  await store.complete(ID, owned, anOutcome())
  await waiting
  t.match(await earlier.claim(ID, aClaim()), { state: 'settled' })
})

t.test('a user that may not publish can forget all the same', async (t) => {
  const server = await ownRedis(t)
  await server.admin.acl('SETUSER', 'worker', 'on', 'nopass', '~*', '+@all', '-publish', 'resetchannels')
  const redis = connectRedis(t, { url: server.url.replace('//', '//worker:any@') })
  const store = openStore(t, redis, 'idem:')
  await own(store)
  t.equal(await store.forget(ID), true)
  t.equal(await store.find(ID), null)
})
