import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import idempotency from '../../plugin/index.ts'
import type { IdempotencyOptions } from '../../plugin/index.ts'
import { postgresJournal } from '../../plugin/journal/postgres.ts'
import { clientOf, until } from '../helper.ts'
import type { Client } from '../helper.ts'
import { REDIS_6, unpacked, VALKEY_8 } from '../servers/debian.ts'
import { freePort } from '../servers/port.ts'
import { startRedis } from '../servers/redis.ts'
import { failToSave, ownRedis } from './own-redis.ts'
import type { OwnRedis } from './own-redis.ts'

/*
 * An app that starts on a real Redis that is wrong, doubtful, not there yet, or fine.
 */

interface Started {
  app: FastifyInstance
  /** The error that kept it from being ready. */
  error: Error | null
  logged: Array<{ level: number, msg: string, err?: { message: string } }>
  /** The log lines of the plugin, from warnings on. */
  told (): string[]
  listen (): Promise<Client>
}

const retryStrategy = (): number => 20

type ClientOptions = Pick<
  RedisOptions,
  | 'enableOfflineQueue'
  | 'enableReadyCheck'
  | 'lazyConnect'
  | 'password'
  | 'protocol'
  | 'retryStrategy'
  | 'stringNumbers'
  | 'username'
>

function clientOn (t: Test, { port }: { port: number }, options: ClientOptions = {}): Redis {
  const redis = new Redis({ port, enableAutoPipelining: true, retryStrategy, ...options })
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return redis
}

async function start (
  t: Test,
  redis: Redis | Cluster,
  options: Partial<IdempotencyOptions> & { pluginTimeout?: number } = {}
): Promise<Started> {
  const { pluginTimeout = 0, ...pluginOptions } = options
  const logged: Started['logged'] = []
  const app = Fastify({
    logger: {
      level: 'debug',
      stream: {
        write: (line: string) => {
          logged.push(JSON.parse(line) as Started['logged'][0])
        }
      }
    },
    forceCloseConnections: true,
    pluginTimeout
  })
  t.teardown(() => app.close())
  app.register(idempotency, { redis, scope: 'global', storeTimeout: 60_000, closeTimeout: 0, ...pluginOptions })
  app.register(async (app) => {
    app.post('/pay', { config: { idempotency: true } }, async () => 'paid')
    app.get('/health', async () => 'fine')
  })
  const error: Error | null = await app.ready().then(() => null, (error: Error) => error)
  return {
    app,
    error,
    logged,
    told: () => logged.filter(({ level, msg }) => level >= 40 && msg.startsWith('idempotency')).map(({ msg }) => msg),
    listen: async () => clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  }
}

function refused (t: Test, { error, told }: Started, expected: RegExp): void {
  t.equal(error?.name, 'RedisUnusableError')
  t.match(error?.message, /^fastify-idempotency: Redis cannot be used: /)
  t.match(error?.message, expected)
  t.strictSame(told(), [], 'told once')
}

/** A Redis that keeps what it acknowledged, as it should. */
const durable = ['--appendonly', 'yes']

const OLD = unpacked(REDIS_6)
const VALKEY = unpacked(VALKEY_8)
const missing = 'the packages of another Debian release cannot be had here'
/** Access lists refuse in different words from version to version. */
const SERVERS: Array<[name: string, binary: string | null | undefined]> = [
  ['the Redis of the tests', undefined],
  ['Valkey 8', VALKEY]
]

for (const [name, binary] of SERVERS) {
  const skip = binary === null ? missing : false
  const own = (t: Test, args = durable): Promise<OwnRedis> =>
    ownRedis(t, { args, ...(typeof binary === 'string' && { binary }) })

  t.test('an app starts without a word on one that is as it should be, ' +
    `which is sent four commands (${name})`, { skip }, async (t) => {
    const server = await own(t)
    const redis = clientOn(t, server)
    await until(() => redis.status === 'ready')
    await server.forgetCommands()
    const started = await start(t, redis)
    t.equal(started.error, null)
    t.strictSame(started.told(), [])
    const stats = await server.admin.info('commandstats')
    const calls: Record<string, number> = Object.fromEntries<number>(
      [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name = '', count]) => [name, Number(count)])
    )
    const { eval: scripts, evalsha, info, 'config|get': config, 'config|resetstat': _mine, ...inScript } = calls
    t.strictSame({ scripts, evalsha, info, config }, { scripts: 1, evalsha: 1, info: 1, config: 1 }, 'sent')
    t.strictSame(
      inScript,
      { set: 2, get: 1, setrange: 1, pexpire: 1, pttl: 1, publish: 1, del: 1 },
      'run in the script'
    )
    t.equal(await server.admin.dbsize(), 0, 'nothing is left of it')
    t.equal((await (await started.listen()).post('/pay', 'k')).text, 'paid')
  })

  t.test(`a user without a right that is needed is refused, and the right is named (${name})`, { skip }, async (t) => {
    const server = await own(t)
    const as = async (...rights: string[]): Promise<Started> => {
      await server.admin.acl('SETUSER', 'app', 'reset', 'on', '>secret', ...rights)
      const redis = clientOn(t, server, { username: 'app', password: 'secret' })
      const started = await start(t, redis)
      redis.disconnect()
      return started
    }
    const all = ['~*', '&*', '+@all']
    for (const command of ['set', 'get', 'setrange', 'pexpire', 'pttl', 'publish', 'del', 'eval', 'evalsha']) {
      refused(
        t,
        await as(...all, `-${command}`),
        new RegExp(
          `its user lacks the right to run ${command.toUpperCase()} on keys and channels that begin with "idem:"`
        )
      )
    }
    refused(t, await as('~other:*', '&*', '+@all'), /the right to run EVALSHA, EVAL on keys/)
    refused(t, await as('~*', 'resetchannels', '+@all'), /the right to run PUBLISH on/)
    refused(t, await as(...all, '-@all', '+@connection'), /the right to run EVALSHA, EVAL on/)

    for (const command of ['info', 'config']) {
      const started = await as(...all, `-${command}`)
      t.equal(started.error, null, `${command} is not needed`)
      t.strictSame(started.told(), [])
    }
    const { message } = (await as('~*', '&*')).error as Error
    const grants = /Grant it: (.*)$/.exec(message)?.[1]?.split(' ') ?? []
    // The commands that ioredis itself needs to connect.
    const started = await as('~idem:*', '&idem:*', '+hello', ...grants)
    t.equal(started.error, null, `enough: ${grants.join(' ')}`)
  })

  t.test(`a replica is refused, also one that takes writes (${name})`, { skip }, async (t) => {
    const server = await own(t)
    await server.admin.replicaof('127.0.0.1', await freePort())
    refused(
      t,
      await start(t, clientOn(t, server)),
      /it is a replica, which takes no writes or loses them\. Connect .* to the master/
    )
    await server.admin.config('SET', 'replica-read-only', 'no')
    refused(t, await start(t, clientOn(t, server)), /it is a replica/)
  })
}

t.test('a Redis 6 is refused, with its version', { skip: OLD === null ? missing : false }, async (t) => {
  const server = await ownRedis(t, { binary: OLD as string })
  const started = await start(t, clientOn(t, server))
  refused(t, started, /version 7\.0 or later is needed, and this one is 6\.0\.16\. Upgrade it/)
  t.match(started.error, { cause: { message: /syntax error/ } })
  await server.admin.acl('SETUSER', 'app', 'reset', 'on', '>secret', '~*', '+@all', '-info')
  refused(
    t,
    await start(t, clientOn(t, server, { username: 'app', password: 'secret' })),
    /version 7\.0 or later is needed, and this one is older/
  )
  t.equal((await start(t, clientOn(t, server), { redisChecks: false })).error, null, 'unless nobody looks')
})

t.test('a wrong password is named as the cause, a missing one too', async (t) => {
  const server = await ownRedis(t, { args: durable })
  await server.admin.config('SET', 'requirepass', 'right')
  await server.admin.acl('SETUSER', 'off', 'reset', 'off', '>right', '~*', '&*', '+@all')
  const wrong: Array<[what: string, options: ClientOptions]> = [
    ['a wrong password', { password: 'hunter2' }],
    ['a wrong user', { username: 'nobody', password: 'hunter2' }],
    ['a user that is off', { username: 'off', password: 'right' }]
  ]
  for (const [what, options] of wrong) {
    for (const more of [{}, { protocol: 2 as const }, { enableOfflineQueue: false }, { enableReadyCheck: false }]) {
      const started = await start(t, clientOn(t, server, { ...options, ...more }))
      refused(
        t,
        started,
        /it refuses the password\. Give the client of the option "redis" the username and the password that Redis knows/
      )
      t.match(started.error, { cause: { message: /^WRONGPASS / } }, `${what}, ${JSON.stringify(more)}`)
      t.notMatch(inspect([started.error, started.logged], { depth: null }), /hunter2|nobody/)
    }
  }
  for (const more of [
    {},
    { protocol: 2 as const },
    { enableReadyCheck: false },
    { enableReadyCheck: false, protocol: 2 as const },
    { enableReadyCheck: false, protocol: 2 as const, enableOfflineQueue: false }
  ]) {
    refused(t, await start(t, clientOn(t, server, more)), /it asks for a password, and the client has none/)
  }
  const failing = clientOn(t, server, { password: 'hunter2' })
  await until(() => failing.status === 'reconnecting')
  refused(t, await start(t, failing), /refuses the password/)
  t.equal((await start(t, clientOn(t, server, { password: 'right' }))).error, null)
})

t.test('a Redis that may forget is a warning, one sentence each', async (t) => {
  const server = await ownRedis(t, { args: durable })
  await server.admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const evicting = await start(t, clientOn(t, server))
  t.equal(evicting.error, null)
  t.strictSame(evicting.told(), [
    'idempotency: Redis has the maxmemory-policy allkeys-lru, not noeviction: ' +
      'a full Redis forgets keys, and then their retries run again'
  ])

  await server.admin.config('SET', 'maxmemory-policy', 'noeviction')
  await server.admin.config('SET', 'appendonly', 'no')
  const forgetting = 'idempotency: Redis keeps nothing on disk (appendonly no, and no save): ' +
    'a restart of Redis forgets all keys, and then their retries run again'
  for (const options of [{}, { protocol: 2 as const }, { stringNumbers: true }]) {
    const started = await start(t, clientOn(t, server, options))
    t.strictSame(started.told(), [forgetting], JSON.stringify(options))
  }
  const objects = new Redis({ port: server.port, protocol: 3, replyMapping: 'resp3' })
  t.teardown(() => objects.disconnect())
  t.strictSame((await start(t, objects)).told(), [forgetting], 'a client that answers with objects')
  await server.admin.config('SET', 'save', '3600 1')
  t.strictSame((await start(t, clientOn(t, server))).told(), [], 'snapshots are something')
  // Otherwise it would not end with its test.
  await server.admin.config('SET', 'shutdown-on-sigterm', 'nosave')
})

t.test('a Redis that takes no writes just now is a warning', async (t) => {
  const states: Array<[code: string, begin: (server: OwnRedis) => Promise<unknown>]> = [
    ['OOM', ({ admin }) => admin.config('SET', 'maxmemory', '1')],
    ['NOREPLICAS', ({ admin }) => admin.config('SET', 'min-replicas-to-write', '1')],
    ['MISCONF', failToSave]
  ]
  for (const [code, begin] of states) {
    const server = await ownRedis(t)
    await begin(server)
    const started = await start(t, clientOn(t, server))
    t.equal(started.error, null, code)
    t.match(started.told(), [/^idempotency: Redis could not be checked, and will be once it can be reached/])
    t.match(started.logged.find(({ level }) => level === 40)?.err?.message, new RegExp(`^${code} `))
  }
})

t.test('a Redis that cannot be reached yet does not keep an app from starting, and is checked later', async (t) => {
  const server = await ownRedis(t, { started: false, args: [...durable, '--maxmemory-policy', 'allkeys-lru'] })
  const redis = clientOn(t, server)
  const started = await start(t, redis, { storeTimeout: 500 })
  t.equal(started.error, null)
  t.match(started.told(), [
    /^idempotency: Redis could not be checked, and will be once it can be reached: until then protected requests are refused/
  ])
  t.match(started.logged.find(({ level }) => level === 40)?.err, { code: 'ECONNREFUSED' })
  const client = await started.listen()
  t.equal((await client.get('/health')).status, 200)
  t.equal((await client.post('/pay', 'k')).status, 503)
  await server.start()
  const warned = (): number => started.told().filter(msg => msg.includes('allkeys-lru')).length
  await until(() => warned() === 1, 'the checks')
  await until(async () => (await client.post('/pay', 'k')).status === 200)
  await server.stop()
  await until(() => redis.status !== 'ready')
  await server.start()
  await until(() => redis.status === 'ready')
  t.equal((await client.post('/pay', 'another')).status, 200)
  t.equal(warned(), 1, 'it is checked once')
})

t.test('what is found to be wrong only once Redis is reached is logged as an error', async (t) => {
  const replica = await ownRedis(t, { started: false, args: ['--replicaof', '127.0.0.1', '1'] })
  const started = await start(t, clientOn(t, replica), { storeTimeout: 500 })
  t.equal(started.error, null)
  await replica.start()
  await until(() => started.logged.some(({ level }) => level === 50), 'the error')
  t.match(
    started.logged.find(({ level }) => level === 50),
    { msg: 'idempotency: Redis cannot be used: nothing is protected', err: { message: /it is a replica/ } }
  )

  const locked = await ownRedis(t, { started: false, args: ['--user', 'app', 'on', '>right', '~*', '&*', '+@all'] })
  const other = await start(t, clientOn(t, locked, { username: 'app', password: 'hunter2' }), { storeTimeout: 500 })
  t.equal(other.error, null)
  await locked.start()
  await until(() => other.logged.some(({ level }) => level === 50), 'the error')
  t.match(other.logged.find(({ level }) => level === 50), { err: { message: /it refuses the password/ } })
  t.equal(other.logged.filter(({ level }) => level === 50).length, 1, 'told once, however often the client tries')
})

t.test('a lazy client is not made to connect, and is checked when it first is', async (t) => {
  const server = await ownRedis(t, { args: [...durable, '--maxmemory-policy', 'allkeys-lru'] })
  for (const enableOfflineQueue of [true, false]) {
    const redis = clientOn(t, server, { lazyConnect: true, enableOfflineQueue })
    const started = await start(t, redis)
    t.equal(redis.status, 'wait')
    t.strictSame(started.told(), [])
    t.equal(
      (await (await started.listen()).post('/pay', `k${enableOfflineQueue}`)).status,
      200,
      'and its first request is not lost'
    )
    await until(() => started.told().length === 1, 'the checks')
  }
})

t.test('a Redis that does not answer delays the start by storeTimeout, never until Fastify’s limit', async (t) => {
  const server = await ownRedis(t)
  const redis = clientOn(t, server)
  await until(() => redis.status === 'ready')
  await server.admin.client('PAUSE', 600_000, 'ALL')
  for (const options of [{ storeTimeout: 50 }, { storeTimeout: 60_000, pluginTimeout: 500 }]) {
    const started = await start(t, redis, options)
    t.equal(started.error, null)
    t.match(
      started.logged.find(({ level }) => level === 40)?.err?.message,
      `Redis did not answer within ${options.storeTimeout === 50 ? 50 : 400} ms`
    )
  }
})

t.test('what a Redis answers only after the app has started counts all the same', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.kill())
  const admin = clientOn(t, server)
  await admin.acl('SETUSER', 'app', 'reset', 'on', '>secret', '~*', '&*', '+@all', '-set')
  const redis = clientOn(t, server, { username: 'app', password: 'secret' })
  await until(() => redis.status === 'ready')
  server.freeze()
  const started = await start(t, redis, { storeTimeout: 50 })
  t.equal(started.error, null)
  server.thaw()
  await until(() => started.logged.some(({ level }) => level === 50), 'the error')
  t.match(
    started.logged.find(({ level }) => level === 50),
    { msg: 'idempotency: Redis cannot be used: nothing is protected', err: { message: /the right to run SET on/ } }
  )
})

t.test('a Redis that took no writes when the app started is checked again, until it takes them', async (t) => {
  const server = await ownRedis(t, { args: durable })
  await server.admin.config('SET', 'maxmemory', '1')
  const started = await start(t, clientOn(t, server))
  t.match(started.told(), [/could not be checked, and will be/])
  const times = async (): Promise<number> => (await server.commands()).eval ?? 0
  await until(async () => await times() > 1, 'a second try')
  await server.admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await server.admin.config('SET', 'maxmemory', '0')
  await until(() => started.told().length > 1, 'the checks')
  t.match(started.told(), [/could not be checked, and will be/, /allkeys-lru/], 'the same trouble is told once')
})

t.test('an outage is told to an app that does not listen for errors of its client, ' +
  'whose own words are not kept from it', async (t) => {
  const printed: string[] = []
  t.intercept(console, 'error', { value: (...words: unknown[]) => { printed.push(words.join(' ')) } })
  for (const lazyConnect of [false, true]) {
    const port = await freePort()
    const redis = new Redis({ port, lazyConnect, retryStrategy })
    t.teardown(() => redis.disconnect())
    const started = await start(t, redis, { storeTimeout: 500 })
    t.equal(started.error, null)
    const client = await started.listen()
    t.equal((await client.post('/pay', 'k')).status, 503)
    const told = (): Started['logged'] =>
      started.logged.filter(
        ({ level, msg }) => level === 40 && msg.startsWith('idempotency: Redis could not be checked')
      )
    await until(() => told().length > 0, 'the warning')
    t.match(told(), [{ err: { code: 'ECONNREFUSED' } }], 'in the log of the app')
    printed.length = 0
    await until(() => printed.some(words => words.includes(`ECONNREFUSED 127.0.0.1:${port}`)), 'what ioredis prints')
  }
})

t.test('with redisChecks: false nothing is asked', async (t) => {
  const server = await ownRedis(t)
  const redis = clientOn(t, server)
  await until(() => redis.status === 'ready')
  await server.forgetCommands()
  const { error, told } = await start(t, redis, { redisChecks: false })
  t.equal(error, null)
  t.strictSame(told(), [])
  t.strictSame(await server.commands(), {})
})

t.test('an app that closes before Redis is there lets go of the client', async (t) => {
  const port = await freePort()
  const redis = clientOn(t, { port }, { retryStrategy: () => 600_000 })
  await until(() => redis.status === 'reconnecting')
  const listeners = (): number[] => ['ready', 'error', 'close'].map(event => redis.listenerCount(event))
  const before = listeners()
  const { app } = await start(t, redis, { storeTimeout: 50 })
  t.not(redis.listenerCount('ready'), before[0])
  await app.close()
  t.strictSame(listeners(), before)
})

t.test('an app that something else keeps from starting lets go of the client, too', async (t) => {
  const port = await freePort()
  const redis = clientOn(t, { port }, { retryStrategy: () => 600_000 })
  await until(() => redis.status === 'reconnecting')
  const listeners = (): number[] => ['ready', 'error', 'close'].map(event => redis.listenerCount(event))
  const before = listeners()
  const db = { query: async () => { throw Object.assign(new Error('no such table'), { code: '42P01' }) } }
  const { app, error } = await start(t, redis, { storeTimeout: 50, journal: postgresJournal(db) })
  t.equal(error?.name, 'JournalUnusableError')
  await app.close()
  t.strictSame(listeners(), before)
  await setTimeout(100)
  t.strictSame(listeners(), before, 'also once the start would have waited no longer')
})

for (const enableAutoPipelining of [true, false]) {
  t.test(`a Cluster is checked as well (enableAutoPipelining: ${enableAutoPipelining})`, async (t) => {
    const server = await ownRedis(t, {
      args: [
        ...durable,
        '--cluster-enabled', 'yes', '--cluster-port', String(await freePort()), '--cluster-announce-ip', '127.0.0.1'
      ]
    })
    await server.admin.cluster('ADDSLOTSRANGE', 0, 16383)
    await until(async () => (await server.admin.cluster('INFO')).includes('cluster_state:ok'), 'a cluster of one')
    const connect = (password?: string, username?: string): Cluster => {
      const cluster = new Cluster([{ host: '127.0.0.1', port: server.port }], {
        enableAutoPipelining,
        clusterRetryStrategy: retryStrategy,
        redisOptions: { ...(password !== undefined && { password }), ...(username !== undefined && { username }) }
      })
      cluster.on('error', () => {})
      t.teardown(() => cluster.disconnect())
      return cluster
    }
    const fine = await start(t, connect())
    t.equal(fine.error, null)
    t.strictSame(fine.told(), [])

    await server.admin.acl('SETUSER', 'app', 'reset', 'on', '>secret', '~*', '&*', '+@all', '-pexpire')
    refused(t, await start(t, connect('secret', 'app')), /the right to run PEXPIRE on/)
    await server.admin.config('SET', 'requirepass', 'right')
    refused(t, await start(t, connect('hunter2')), /it refuses the password/)
    refused(t, await start(t, connect()), /it asks for a password/)
  })
}
