import type { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import type { RedisStore } from '../../../plugin/store/redis.ts'
import { Proxy } from '../../chaos/proxy.ts'
import { newPrefix, until } from '../../helper.ts'
import { aClaim, ID, openStore, own } from '../harness.ts'
import { ownRedis } from '../own-redis.ts'
import { answer, connected, patched, streamOf } from './clients.ts'
import type { ClientOptions } from './clients.ts'

/** Everything that the store asks of Redis, on one key. */
async function everyCommand (store: RedisStore): Promise<void> {
  const claim = aClaim({ owner: 'owner-of-it-all-01' })
  const owned = await own(store, claim)
  await store.renew(ID, owned)
  await store.markLeft(ID, owned)
  await store.claim(ID, aClaim({ owner: 'some-other-claim01', takeOver: false }))
  await store.release(ID, owned)
  const again = await own(store, { ...claim, owner: 'owner-once-more-01' })
  await store.withdraw(ID, again)
  const last = await own(store, { ...claim, owner: 'owner-at-last-0001' })
  await store.complete(ID, last, answer('text ✓'))
  await store.claim(ID, claim)
  await store.find(ID)
  await store.forget(ID)
  await store.complete(ID, last, answer(Buffer.from([0, 255, 13, 10])))
}

/** The commands that Redis receives meanwhile, as `MONITOR` shows them. */
async function received (t: Test, options: ClientOptions, prepare: (redis: Redis) => Redis): Promise<string[][]> {
  const server = await ownRedis(t)
  const redis = prepare(await connected(t, options, server.url))
  const store = openStore(t, redis, 'idem:')
  const monitor = await server.admin.monitor()
  t.teardown(() => monitor.disconnect())
  const commands: string[][] = []
  monitor.on('monitor', (_time, [name = '', ...args]: string[], source: string, database: string) => {
    // Commands of a script are shown too.
    if (source !== 'lua') commands.push([database, name.toLowerCase(), ...args])
  })
  await everyCommand(store)
  await redis.echo('the end')
  await until(() => commands.at(-1)?.includes('the end'), 'the last command')
  return commands
}

const OPTIONS: Record<string, ClientOptions> = {
  'no options': {},
  'a keyPrefix': { keyPrefix: 'app:' },
  'a keyPrefix that is not ASCII': { keyPrefix: 'préfixe:日本:\u{1f4b6}:' },
  'a keyPrefix with half a character': { keyPrefix: 'half:\ud83d:' },
  'another database': { db: 5 },
  RESP2: { protocol: 2 }
}

for (const [what, options] of Object.entries(OPTIONS)) {
  t.test(`Redis gets the commands that the methods of the client would send, with ${what}`, async (t) => {
    const expected = await received(t, options, patched)
    t.strictSame(await received(t, options, redis => redis), expected)
    t.ok(expected.length > 15)
  })
}

const MB = 1024 * 1024
const BODIES: Record<string, string | Buffer> = {
  'an empty text': '',
  'empty bytes': Buffer.alloc(0),
  'text of several bytes a character': 'äöü € 日本語 \u{1f4b6}'.repeat(100),
  'text with halves of characters': 'a\ud83db\udcb6c\udcb6\ud83d',
  'text that ends in half a character': 'x\ud83d',
  'text that looks like the protocol': '\r\n$3\r\nfoo\r\n*1\r\n$8\r\nFLUSHALL\r\n',
  'every byte there is': Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  'text just below the size that is sent apart': '日'.repeat(32_767),
  'text of the size that is sent apart': '日'.repeat(32_768),
  'large text with halves of characters': '\ud83d€'.repeat(20_000),
  'large text': 'x€'.repeat(2.5 * MB),
  'large bytes': Buffer.alloc(5 * MB, 'y')
}

for (const [what, body] of Object.entries(BODIES)) {
  t.test(`${what} as a body comes back as it was, and so do the answers to the commands behind it`, async (t) => {
    const redis = await connected(t)
    const keyPrefix = newPrefix()
    const store = openStore(t, redis, keyPrefix)
    const owned = await own(store)
    const results = await Promise.all([
      redis.echo('before'), store.complete(ID, owned, answer(body)), redis.echo('after'), store.find('nothing')
    ])
    t.strictSame(results, ['before', true, 'after', null])
    const found = await store.claim(ID, aClaim())
    const bytes = found.state === 'settled' ? found.outcome.response?.body : null
    t.ok(Buffer.from(body as string).equals(bytes as Buffer), 'what UTF-8 can say of it')
    await store.forget(ID)
  })
}

t.test('a Redis that reads slowly gets large bodies whole, and in their order', async (t) => {
  const server = await ownRedis(t)
  const proxy = await Proxy.listen(() => server.port)
  t.teardown(() => proxy.close())
  const redis = await connected(t, {}, `redis://127.0.0.1:${proxy.port}`)
  const store = openStore(t, redis, 'idem:')
  const ids = Array.from({ length: 8 }, (_, i) => `record-${i}`)
  const owned = await Promise.all(ids.map(id => own(store, aClaim(), id)))
  proxy.stall()
  const body = (i: number): string | Buffer => i % 2 === 0 ? String(i).repeat(MB) : Buffer.alloc(MB, String(i))
  const completed = Promise.all(ids.map((id, i) => store.complete(id, owned[i] as typeof owned[0], answer(body(i)))))
  const echoed = redis.echo('behind')
  await until(() => streamOf(redis).writableNeedDrain, 'a full connection')
  proxy.heal()
  t.ok((await completed).every(Boolean))
  t.equal(await echoed, 'behind')
  for (const [i, id] of ids.entries()) {
    const found = await store.claim(id, aClaim())
    t.ok(found.state === 'settled' && found.outcome.response?.body.toString() === String(body(i)), id)
  }
})
