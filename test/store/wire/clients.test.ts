import { once } from 'node:events'
import { Redis, Cluster } from 'ioredis'
import { Redis as Redis5, Cluster as Cluster5 } from 'ioredis-5'
import { Redis as Valkey, Cluster as ValkeyCluster } from 'iovalkey'
import t from 'tap'
import type { Test } from 'tap'
import { recordId } from '../../../plugin/core/record-id.ts'
import type { RedisClient } from '../../../plugin/index.ts'
import { RedisStore } from '../../../plugin/store/redis.ts'
import { connectRedis, newPrefix, REDIS_URL } from '../../helper.ts'
import { ownCluster } from '../cluster.ts'
import { storeContract } from '../contract.ts'
import { aClaim, ID, own } from '../harness.ts'
import { answer, connected, patched, watchCommands } from './clients.ts'

const SECRET = '4111 1111 1111 1111'

interface Client extends RedisClient {
  disconnect (): void
  sendCommand (command: never): unknown
  getBuffer (key: string): Promise<Buffer | null>
}

type Options = { keyPrefix?: string, stringNumbers?: boolean, enableAutoPipelining?: boolean, commandTimeout?: number }

const LIBRARIES: Record<string, (options?: Options) => Client> = {
  'ioredis 6': options => new Redis(REDIS_URL, { ...options }),
  'ioredis 5': options => new Redis5(REDIS_URL, { ...options }),
  iovalkey: options => new Valkey(REDIS_URL, { ...options })
}

function open (t: Test, redis: Client, keyPrefix: string): RedisStore {
  const store = new RedisStore(redis, { keyPrefix, connectTimeout: 120_000 })
  redis.on('error', () => {})
  t.teardown(() => {
    store.close()
    redis.disconnect()
  })
  return store
}

/** A prefix whose keys are deleted when the test ends. */
async function ownPrefix (t: Test, clientPrefix = ''): Promise<string> {
  const prefix = newPrefix()
  await connectRedis(t, { prefix: clientPrefix + prefix }).ping()
  return prefix
}

for (const [library, connect] of Object.entries(LIBRARIES)) {
  if (library !== 'ioredis 6') {
    for (const options of [
      {}, { enableAutoPipelining: true }, { keyPrefix: 'test:app:', stringNumbers: true }, { commandTimeout: 600_000 }
    ] satisfies Options[]) {
      storeContract(t, `RedisStore on a client of ${library} with ${JSON.stringify(options)}`, async (t) => {
        const prefix = await ownPrefix(t, 'keyPrefix' in options ? options.keyPrefix : '')
        return { store: open(t, connect(options), prefix), other: open(t, connect(options), prefix) }
      })
    }
  }

  t.test(`who watches the commands of ${library} sees the keys and nothing else of them`, async (t) => {
    const redis = connect({ keyPrefix: 'test:app:' })
    const prefix = await ownPrefix(t, 'test:app:')
    const store = open(t, redis, prefix)
    const sent = watchCommands(redis)
    const owned = await own(store)
    await store.renew(ID, owned)
    await store.complete(ID, owned, answer(SECRET))
    await store.find(ID)
    await store.forget(ID)
    const commands = sent.filter(({ name }) => ['set', 'evalsha', 'eval', 'get', 'pttl'].includes(name))
    t.strictSame([...new Set(commands.map(({ name, args }) => `${name} ${name.startsWith('eval')
      ? args.length === 3 && args[1] === '1'
      : args.length === 1}`))].filter(line => !line.startsWith('eval ')),
    ['set true', 'evalsha true', 'get true', 'pttl true'])
    t.ok(commands.every(({ args }) => args.at(-1) === `test:app:${prefix}${ID}`), 'the last argument is the key')
  })

  t.test(`a client of ${library} whose methods were replaced is called by its methods`, async (t) => {
    const redis = patched(connect())
    const store = open(t, redis, await ownPrefix(t))
    const sent = watchCommands(redis)
    const owned = await own(store)
    t.equal(await store.complete(ID, owned, answer(SECRET)), true)
    t.match(await store.claim(ID, aClaim()), { state: 'settled' })
    t.equal(sent.find(({ name }) => name === 'set')?.args.length, 6)
    t.notMatch(JSON.stringify(sent.map(({ args }) => args.map(String))), SECRET)
  })
}

for (const [library, connect] of Object.entries({
  'ioredis 5': (port: number) => new Cluster5([{ host: '127.0.0.1', port }]) as Client,
  iovalkey: (port: number) => new ValkeyCluster([{ host: '127.0.0.1', port }]) as Client
})) {
  t.test(`a Cluster of ${library} follows keys to where they have moved`, async (t) => {
    const cluster = await ownCluster(t)
    const keyPrefix = newPrefix()
    const store = open(t, connect(cluster.nodes[0].port), keyPrefix)
    const ids = Array.from({ length: 20 }, (_, i) => `record-${i}`)
    await own(store)
    await cluster.give([...new Set(await Promise.all(ids.slice(10).map(id => cluster.slotOf(keyPrefix + id))))], 1)
    const owned = await Promise.all(ids.map(id => own(store, aClaim(), id)))
    const completed = await Promise.all(ids.map((id, i) => store.complete(id, owned[i] as typeof owned[0], answer(id))))
    t.ok(completed.every(Boolean))
    t.ok(await cluster.nodes[1].admin.dbsize() > 0, 'on the other node')
  })
}

t.test('a method that a subclass replaces is called', async (t) => {
  const asked: string[] = []
  class Counting extends Redis {
    override setBuffer (...args: never[]): Promise<Buffer | null> {
      asked.push(String(args[0]))
      return super.setBuffer(...args as unknown as Parameters<Redis['setBuffer']>)
    }
  }
  const prefix = await ownPrefix(t)
  const store = open(t, new Counting(REDIS_URL), prefix)
  await own(store)
  t.strictSame(asked, [prefix + ID])
})

t.test('a method that a Proxy around the client replaces is called', async (t) => {
  const asked: string[] = []
  const prefix = await ownPrefix(t)
  const redis = new Redis(REDIS_URL)
  const store = open(t, new Proxy(redis, {
    get (target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (name !== 'setBuffer') return typeof value === 'function' ? value.bind(target) as unknown : value
      return (...args: Parameters<Redis['setBuffer']>) => {
        asked.push(String(args[0]))
        return target.setBuffer(...args)
      }
    }
  }), prefix)
  await own(store)
  t.strictSame(asked, [prefix + ID])
})

t.test('a client whose keyPrefix is a Buffer puts it in front', async (t) => {
  // ioredis itself needs a Buffer that is UTF-8.
  const keyPrefix = Buffer.from(`préfixe:${newPrefix()}`)
  const redis = new Redis(REDIS_URL, { keyPrefix: keyPrefix as unknown as string })
  const store = open(t, redis, 'idem:')
  await own(store)
  const admin = await connected(t)
  const key = Buffer.concat([keyPrefix, Buffer.from(`idem:${ID}`)])
  t.equal(await admin.exists(key), 1)
  t.equal(await store.forget(ID), true)
  t.equal(await admin.exists(key), 0)
})

t.test('what a wrapper of sendCommand answers is the answer, and its error is handled', async (t) => {
  const prefix = await ownPrefix(t)
  class Guarded extends Redis {
    fails = false
    override sendCommand (...args: Parameters<Redis['sendCommand']>): Promise<unknown> {
      const answer = async (): Promise<unknown> => {
        const value = await super.sendCommand(...args)
        if (this.fails) throw new Error('not today')
        return value
      }
      return answer()
    }
  }
  const redis = new Guarded(REDIS_URL)
  const store = open(t, redis, prefix)
  await own(store)
  redis.fails = true
  await t.rejects(store.claim(recordId('global', 'another'), aClaim()), { message: 'not today' })
  // An error of Redis itself goes through the wrapper too. Nobody but the store may get it.
  await redis.quit().catch(() => {})
  await once(redis, 'end')
  await t.rejects(redis.getBuffer(prefix), { message: 'Connection is closed.' })
})

t.test('an error of Redis has the key of its command and nothing that was to be written', async (t) => {
  const redis = await connected(t)
  const prefix = await ownPrefix(t)
  const store = open(t, redis, prefix)
  const owned = await own(store)
  await redis.del(prefix + ID)
  await redis.lpush(prefix + ID, 'not a record')
  const errors: unknown[] = []
  const sent = redis.sendCommand.bind(redis)
  redis.sendCommand = (...args) => {
    const promise = sent(...args) as Promise<unknown>
    promise.catch((error: unknown) => errors.push(error))
    return promise
  }
  await t.rejects(store.complete(ID, owned, answer(SECRET)))
  const [error] = errors as Array<{ command: { args: unknown[] } }>
  t.equal(error?.command.args.at(-1), prefix + ID)
  t.notMatch(JSON.stringify(errors), SECRET)
})

t.test('a Cluster sends prepared commands too', async (t) => {
  const cluster = await ownCluster(t)
  const redis = new Cluster([{ host: '127.0.0.1', port: cluster.nodes[0].port }])
  const store = open(t, redis, 'idem:')
  const sent = watchCommands(redis)
  await own(store)
  t.strictSame(sent.filter(({ name }) => name === 'set').map(({ args }) => args), [[`idem:${ID}`]])
})
