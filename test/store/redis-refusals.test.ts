import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from '../../plugin/index.ts'
import type { OwnedClaim } from '../../plugin/index.ts'
import { ID_LENGTH } from '../../plugin/store/record.ts'
import type { RedisStore } from '../../plugin/store/redis.ts'
import { connectRedis } from '../helper.ts'
import { freePort } from '../servers/port.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, isAbout, never, openStore, own, viewOf, waitFor } from './harness.ts'
import { failToSave, ownRedis } from './own-redis.ts'
import type { OwnRedis } from './own-redis.ts'

/*
 * A real Redis that is full, read-only, lacks replicas, cannot save, or forbids commands. A refused command has changed
 * nothing, what can be read is read, and a full Redis still takes a write that needs no more room than the claim did.
 */

const NOTHING_KEPT = { statusCode: 201, response: null }

/** An id of the real length: a wake-up carries the id of its record. */
const id = (name: string): string => name.padEnd(ID_LENGTH, '.')

interface Refusing {
  server: OwnRedis
  store: RedisStore
  /** Records that were there before, by the name of their kind. */
  owned: Record<'running' | 'left' | 'second' | 'silent' | 'released' | 'settled' | 'lost', OwnedClaim>
  /** Every key with its bytes and whether it expires. */
  everything (): Promise<string[]>
}

/** Records of each kind, and after that a Redis that refuses. */
async function refusing (t: Test, refuse: (server: OwnRedis) => Promise<void>): Promise<Refusing> {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url })
  const store = openStore(t, redis, 'idem:')
  const { expireLease } = viewOf(redis, 'idem:')
  const released = await own(store, aClaim(), id('released'))
  await store.release(id('released'), released)
  await store.release(id('second'), await own(store, aClaim(), id('second')))
  const owned = {
    running: await own(store, aClaim(), id('running')),
    left: await own(store, aClaim(), id('left')),
    second: await own(store, aClaim(), id('second')),
    silent: await own(store, aClaim(), id('silent')),
    settled: await own(store, aClaim(), id('settled')),
    lost: await own(store, aClaim(), id('lost')),
    released
  }
  await store.markLeft(id('left'), owned.left)
  await expireLease(id('silent'))
  await store.complete(id('settled'), owned.settled, anOutcome('kept'))
  await store.forget(id('lost'))
  await refuse(server)
  return {
    server,
    store,
    owned,
    async everything () {
      const keys = (await server.admin.keys('*')).sort()
      return Promise.all(
        keys.map(
          async key =>
            `${key} ${(await server.admin.getBuffer(key))?.toString('hex')} ${await server.admin.pttl(key) > 0}`
        )
      )
    }
  }
}

const REFUSALS: Array<[code: string, what: string, refuse: (server: OwnRedis) => Promise<void>]> = [
  ['OOM', 'that is full', async ({ admin }) => { await admin.config('SET', 'maxmemory', '1') }],
  [
    'READONLY',
    'that was demoted to a replica',
    async ({ admin }) => {
      await admin.replicaof('127.0.0.1', String(await freePort()))
    }
  ],
  [
    'NOREPLICAS',
    'that lacks replicas',
    async ({ admin }) => {
      await admin.config('SET', 'min-replicas-to-write', '1')
    }
  ],
  ['MISCONF', 'that cannot save', failToSave]
]

for (const [code, what, refuse] of REFUSALS) {
  t.test(`a Redis ${what} still says what is settled, running, or another request’s, and claims nothing`, async (t) => {
    const { store, owned, everything } = await refusing(t, refuse)
    const before = await everything()
    t.match(await store.claim(id('settled'), aClaim()), { state: 'settled', attempt: 1, outcome: anOutcome('kept') })
    for (const name of ['running', 'released', 'settled', 'silent']) {
      t.strictSame(await store.claim(id(name), aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
    }
    const running = await store.claim(id('running'), aClaim())
    t.match(running, { state: 'running', ownerLeft: false })
    isAbout(t, running.state === 'running' ? running.leaseLeft : null, 30_000)
    t.match(await store.claim(id('left'), aClaim()), { state: 'running', ownerLeft: true })
    t.strictSame(await store.claim(id('silent'), aClaim({ takeOver: false })), {
      state: 'running',
      leaseLeft: 0,
      ownerLeft: false
    })
    t.strictSame(
      await store.claim(id('second'), owned.second),
      { state: 'claimed', attempt: 2 },
      'a claim whose answer was lost'
    )
    for (const name of ['new', 'released', 'silent']) {
      await t.rejects(store.claim(id(name), aClaim()), isRefused(code), name)
    }
    t.strictSame(await everything(), before, 'nothing has changed')
  })

  t.test(`a claim that a Redis ${what} refuses costs one command more, or two if the key is running`, async (t) => {
    const { store, server } = await refusing(t, refuse)
    const commandsOf = async (name: string): Promise<Record<string, number>> => {
      await server.forgetCommands()
      await store.claim(id(name), aClaim()).catch(() => {})
      const { set: _refused, ...commands } = await server.commands()
      return commands
    }
    t.strictSame(await commandsOf('settled'), { get: 1 })
    t.strictSame(await commandsOf('new'), { get: 1 })
    t.strictSame(await commandsOf('running'), { get: 1, pttl: 1 })
  })

  t.test(`what a Redis ${what} refuses has not been done`, async (t) => {
    const { store, owned, everything } = await refusing(t, refuse)
    const before = await everything()
    const refused = isRefused(code)
    await t.rejects(store.complete(id('running'), owned.running, anOutcome()), refused, 'complete')
    await t.rejects(store.complete(id('lost'), owned.lost, anOutcome()), refused, 'complete a lost record')
    if (code !== 'OOM') {
      await t.rejects(
        store.complete(id('running'), owned.running, NOTHING_KEPT),
        refused,
        'complete without a response'
      )
      await t.rejects(store.renew(id('running'), owned.running), refused, 'renew')
      await t.rejects(store.renew(id('lost'), owned.lost), refused, 'renew a lost record')
      await t.rejects(store.release(id('running'), owned.running), refused, 'release')
      await t.rejects(store.withdraw(id('running'), owned.running), refused, 'withdraw')
      await t.rejects(store.withdraw(id('second'), owned.second), refused, 'withdraw a second attempt')
      await t.rejects(store.markLeft(id('running'), owned.running), refused, 'markLeft')
      await t.rejects(store.forget(id('running')), refused, 'forget')
      t.equal(await store.wait(id('running'), 600_000, never()), undefined, 'who waits is let go to look again')
    }
    t.strictSame(await everything(), before, 'nothing has changed')
  })

  t.test(`what needs no write is answered by a Redis ${what} as ever`, async (t) => {
    const { store, owned } = await refusing(t, refuse)
    const late = { ...aClaim(), attempt: 1 }
    t.equal(await store.renew(id('running'), late), false)
    t.equal(await store.complete(id('running'), late, anOutcome()), false)
    t.equal(await store.complete(id('running'), late, NOTHING_KEPT), false)
    t.equal(await store.complete(id('settled'), owned.settled, anOutcome('kept')), true, 'done before')
    t.equal(await store.release(id('released'), owned.released), true, 'done before')
    t.equal(await store.release(id('lost'), { ...owned.lost, attempt: 0 }), true, 'nothing to do')
    t.equal(await store.withdraw(id('settled'), owned.settled), false)
    t.equal(await store.markLeft(id('left'), owned.left), true, 'done before')
    t.match(await store.find(id('settled')), { state: 'settled' })
  })
}

t.test('what takes no more room than a claim is written into a full Redis', async (t) => {
  const { store, owned, server } = await refusing(t, (REFUSALS[0] as typeof REFUSALS[number])[2])
  const { isAwaited } = viewOf(server.admin, 'idem:')
  const { ended } = await waitFor(() => store.wait(id('running'), 600_000, never()), () => isAwaited(id('running')))
  t.equal(await store.markLeft(id('running'), owned.running), true)
  await ended
  t.match(await store.claim(id('running'), aClaim()), { state: 'running', ownerLeft: true })
  t.equal(await store.renew(id('running'), owned.running), true)
  t.equal(await store.complete(id('running'), owned.running, NOTHING_KEPT), true)
  t.strictSame(await store.claim(id('running'), aClaim()), { state: 'settled', attempt: 1, outcome: NOTHING_KEPT })
  isAbout(t, (await store.find(id('running')))?.expiresIn, owned.running.retention)

  t.equal(await store.renew(id('lost'), owned.lost), true)
  t.match(await store.find(id('lost')), { state: 'running' })
  await store.forget(id('lost'))
  t.equal(await store.release(id('lost'), owned.lost), true)
  t.match(await store.find(id('lost')), { state: 'released', attempt: 1 })
  await store.forget(id('lost'))
  t.equal(await store.complete(id('lost'), owned.lost, NOTHING_KEPT), true)
  t.match(await store.find(id('lost')), { state: 'settled', outcome: NOTHING_KEPT })

  t.equal(await store.release(id('left'), owned.left), true)
  t.match(await store.find(id('left')), { state: 'released', attempt: 1 })
  isAbout(t, (await store.find(id('left')))?.expiresIn, owned.left.retention + owned.left.lease)
  t.equal(await store.withdraw(id('second'), owned.second), true)
  t.match(await store.find(id('second')), { state: 'released', attempt: 1 })
  t.equal(await store.withdraw(id('silent'), owned.silent), true)
  t.equal(await store.find(id('silent')), null)
})

t.test('a Redis that has room again takes what it refused', async (t) => {
  const { store, owned, server } = await refusing(t, (REFUSALS[0] as typeof REFUSALS[number])[2])
  await t.rejects(store.complete(id('running'), owned.running, anOutcome()), StoreRefusedError)
  await server.admin.config('SET', 'maxmemory', '0')
  t.equal(await store.complete(id('running'), owned.running, anOutcome()), true)
  t.match(await store.claim(id('running'), aClaim()), { state: 'settled', outcome: anOutcome() })
  t.match(await store.claim(id('silent'), aClaim()), { state: 'claimed', attempt: 2 })
})

/** A store whose user may run everything but this command. */
async function forbidding (t: Test, { server }: Refusing, command: string): Promise<RedisStore> {
  await server.admin.acl('SETUSER', 'limited', 'reset', 'on', 'nopass', '~*', '&*', '+@all', `-${command}`)
  const redis = new Redis(server.url, { username: 'limited', password: 'any', enableAutoPipelining: true })
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return openStore(t, redis, 'idem:')
}

for (const command of ['set', 'get', 'pttl', 'pexpire', 'setrange', 'publish', 'del', 'evalsha']) {
  t.test(`where an access list forbids ${command}, each call is carried out or refused as a whole`, async (t) => {
    const under = await refusing(t, async () => {})
    const store = await forbidding(t, under, command)
    const { owned } = under
    let refusals = 0
    const calls: Array<[what: string, call: () => Promise<unknown>]> = [
      ['markLeft', () => store.markLeft(id('running'), owned.running)],
      ['renew', () => store.renew(id('running'), owned.running)],
      ['claim what is running', () => store.claim(id('running'), aClaim())],
      ['claim what is settled', () => store.claim(id('settled'), aClaim())],
      ['claim what is new', () => store.claim(id('new'), aClaim())],
      ['take over', () => store.claim(id('silent'), aClaim())],
      ['complete', () => store.complete(id('running'), owned.running, anOutcome())],
      ['complete without a response', () => store.complete(id('left'), owned.left, NOTHING_KEPT)],
      ['withdraw', () => store.withdraw(id('second'), owned.second)],
      ['renew what got lost', () => store.renew(id('lost'), owned.lost)],
      ['release', () => store.release(id('lost'), owned.lost)],
      ['find', () => store.find(id('running'))],
      ['forget', () => store.forget(id('settled'))]
    ]
    for (const [what, call] of calls) {
      const before = await under.everything()
      try {
        await call()
      } catch (error) {
        refusals++
        t.ok(error instanceof StoreRefusedError, `${what}: ${String(error)}`)
        t.strictSame(await under.everything(), before, `${what} was refused, and has changed nothing`)
      }
    }
    t.equal(refusals > 0, command !== 'publish', `${refusals} calls were refused`)
    if (command === 'set') {
      t.match(await store.claim(id('settled'), aClaim()).catch(String), /StoreRefusedError/, 'forgotten by now')
    }
  })
}

t.test('where an access list forbids SET, what is settled is replayed', async (t) => {
  const under = await refusing(t, async () => {})
  const store = await forbidding(t, under, 'set')
  t.match(await store.claim(id('settled'), aClaim()), { state: 'settled', outcome: anOutcome('kept') })
  await t.rejects(store.claim(id('new'), aClaim()), isRefused('NOPERM'))
})

t.test('a key of another type is unreadable, also where Redis takes no writes', async (t) => {
  const { store, server } = await refusing(t, async ({ admin }) => {
    await admin.hset(`idem:${id('hash')}`, 'a', 'b')
    await admin.config('SET', 'maxmemory', '1')
  })
  await server.forgetCommands()
  await t.rejects(store.claim(id('hash'), aClaim()), RecordUnreadableError)
  t.strictSame(await server.commands().then(({ get, evalsha, pttl }) => ({ get, evalsha, pttl })), {
    get: 1,
    evalsha: undefined,
    pttl: undefined
  })
})

t.test('what became of a command whose connection was lost is not known, so it is not called refused', async (t) => {
  const server = await ownRedis(t)
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => null })
  const store = openStore(t, redis, 'idem:')
  const owned = await own(store, aClaim(), id('running'))
  await server.admin.client('PAUSE', 600_000, 'ALL')
  const calls = [
    store.claim(id('new'), aClaim()),
    store.complete(id('running'), owned, anOutcome()),
    store.renew(id('running'), owned),
    store.find(id('running'))
  ]
  const settled = Promise.allSettled(calls)
  // After this, all commands have been sent.
  await new Promise(resolve => { setImmediate(resolve) })
  await server.stop()
  for (const result of await settled) {
    t.equal(result.status, 'rejected')
    if (result.status === 'rejected') {
      t.notOk(
        result.reason instanceof StoreRefusedError || result.reason instanceof StoreUnreachableError,
        String(result.reason)
      )
    }
  }
})

/** The message has only the first word of what Redis said; the rest is in the cause. */
function isRefused (code: string): { name: string, message: string, cause: { message: RegExp } } {
  return {
    name: 'StoreRefusedError',
    message: `Redis refused the command: ${code}`,
    cause: { message: new RegExp(`^${code} `) }
  }
}
