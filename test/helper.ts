import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import type { Test } from 'tap'
import idempotency, { MemoryStore } from '../plugin/index.ts'
import type { IdempotencyOptions } from '../plugin/index.ts'
import { putClockForward } from './clock.ts'
import { until } from './servers/until.ts'
import { methodsOf } from './store/methods.ts'

export { until }

/** The Redis that `npm test` started or that the environment gave. */
export const REDIS_URL = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

/** In `npm run test:unit` there is no Redis: apps with the same key prefix share a store in memory. */
const MEMORY = process.env.TEST_STORE === 'memory' ? new Map<string, MemoryStore>() : null

interface ClientOptions extends Pick<
  RedisOptions,
  | 'enableAutoPipelining'
  | 'enableOfflineQueue'
  | 'keyPrefix'
  | 'lazyConnect'
  | 'maxRetriesPerRequest'
  | 'protocol'
  | 'retryStrategy'
  | 'stringNumbers'
> {
  prefix?: string
  url?: string
}

/** A client of the tests' Redis. When the test ends, the client is closed and the keys under `prefix` are deleted. */
export function connectRedis (t: Test, options: ClientOptions = {}): Redis {
  if (MEMORY !== null) {
    throw new Error('a test that needs Redis is none of `npm run test:unit`: name `connectRedis` in it')
  }
  const { prefix, url = REDIS_URL, ...redisOptions } = options
  const redis = new Redis(url, { enableAutoPipelining: true, ...redisOptions })
  redis.on('error', () => {})
  t.teardown(async () => {
    if (prefix !== undefined && redis.status === 'ready') {
      const keys = await redis.keys(`${prefix}*`)
      if (keys.length > 0) await redis.del(keys)
    }
    redis.disconnect()
  })
  return redis
}

export function newPrefix (): string {
  return `test:${randomUUID()}:`
}

export interface TestApp {
  app: FastifyInstance
  /** Lines of the log, parsed. */
  logged: Array<{ level: number, msg: string }>
  /** Listens on a free port, and sends requests there. */
  listen (): Promise<Client>
  /**
   * Lets time pass for the plugin and for its records, at once: leases of minutes run out without a wait, and none runs
   * out because the machine is slow. Timers are not affected.
   */
  passTime (milliseconds: number): Promise<void>
}

/** Longer than a machine is busy, shorter than a test may take. */
const STORE_TIMEOUT = 60_000

/**
 * Where replays come from: the record in Redis, as in a process that has not seen the key, the replay cache of the
 * process, or the other store. By name, the options of `build`.
 */
export const SOURCES: Record<string, () => Pick<IdempotencyOptions, 'store' | 'replayCache'>> = {
  Redis: () => ({}),
  'the replay cache': () => ({ replayCache: {} }),
  memory: () => ({ store: new MemoryStore() })
}

/**
 * An app with the plugin on the tests' Redis, which closes with its test. The replay cache is off unless the test says
 * otherwise, so that every replay is read from the store, as in another process.
 */
export async function build (
  t: Test,
  options: Partial<IdempotencyOptions> & { server?: FastifyServerOptions } = {},
  before: (app: FastifyInstance) => Promise<unknown> | void = () => {}
): Promise<TestApp> {
  const { server, ...pluginOptions } = options
  const logged: TestApp['logged'] = []
  const app: FastifyInstance = Fastify({
    logger: {
      level: 'info',
      stream: {
        write: (line: string) => {
          logged.push(JSON.parse(line) as TestApp['logged'][number])
        }
      }
    },
    forceCloseConnections: true,
    ...server
  })
  t.teardown(() => app.close())
  await before(app)
  pluginOptions.storeTimeout ??= STORE_TIMEOUT
  pluginOptions.replayCache ??= false
  if (pluginOptions.redis === undefined && pluginOptions.store === undefined) {
    const keyPrefix = pluginOptions.keyPrefix ?? newPrefix()
    if (MEMORY === null) {
      pluginOptions.redis = connectRedis(t, { prefix: keyPrefix })
      pluginOptions.keyPrefix = keyPrefix
    } else {
      const store = MEMORY.get(keyPrefix) ?? new MemoryStore()
      MEMORY.set(keyPrefix, store)
      // The plugin does not use its replay cache with a MemoryStore, but with any other object that has its methods.
      pluginOptions.store = pluginOptions.replayCache === false ? store : methodsOf(store)
      delete pluginOptions.keyPrefix
    }
  }
  // Closing does not wait for handlers that a test has not let end.
  await app.register(idempotency, { scope: 'global', closeTimeout: 0, ...pluginOptions })
  let forward: ReturnType<typeof putClockForward> | undefined
  return {
    app,
    logged,
    async listen () {
      return clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
    },
    async passTime (milliseconds) {
      if (pluginOptions.redis instanceof Redis) {
        await age(pluginOptions.redis as Redis, pluginOptions.keyPrefix ?? 'idem:', milliseconds)
      }
      forward ??= putClockForward(t)
      forward(milliseconds)
    }
  }
}

/**
 * Redis measures leases by the time that a record has left, so this reduces it. A record without time left is deleted.
 */
async function age (redis: Redis, keyPrefix: string, milliseconds: number): Promise<void> {
  const keys = await redis.keys(`${keyPrefix}*`).catch(() => [])
  for (const key of keys) await redis.pexpire(key, await redis.pttl(key) - milliseconds)
}

/**
 * Makes the plugin look after all leases as often as the shortest one needs: a route that nobody calls has a short
 * lease, so that what is due after `passTime` happens soon, whatever leases the other routes have.
 */
export function lookAfterLeasesOften (app: FastifyInstance): void {
  app.post('/never-called', { config: { idempotency: { lease: 60 } } }, async () => {})
}

export { MemoryStore }

export interface Answer {
  status: number
  headers: Headers
  body: Buffer
  text: string
  json: Record<string, unknown>
  replayed: boolean
}

export interface Client {
  url: string
  /** Sends a POST with an `Idempotency-Key`. A body that is not text or bytes is sent as JSON. */
  post (path: string, key?: string | null, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  get (path: string): Promise<Answer>
}

export function clientOf (url: string): Client {
  return {
    url,
    post (path, key = null, body, headers = {}) {
      const isRaw = typeof body === 'string' || body instanceof Uint8Array
      return request(url + path, {
        method: 'POST',
        headers: {
          ...(key === null ? {} : { 'idempotency-key': key }),
          ...(body === undefined ? {} : { 'content-type': isRaw ? 'text/plain' : 'application/json' }),
          ...headers
        },
        ...(body === undefined ? {} : { body: isRaw ? body as string : JSON.stringify(body) })
      })
    },
    get: path => request(url + path, {})
  }
}

async function request (url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  const body = Buffer.from(await response.arrayBuffer())
  const text = body.toString()
  return {
    status: response.status,
    headers: response.headers,
    body,
    text,
    get json () { return JSON.parse(text) as Record<string, unknown> },
    replayed: response.headers.get('idempotent-replayed') === 'true'
  }
}

/** A promise that the test settles itself. */
export function gate<T = void> (): { opened: Promise<T>, open: (value: T) => void } {
  let open!: (value: T) => void
  const opened = new Promise<T>((resolve) => { open = resolve })
  return { opened, open }
}

export interface HeldRoute {
  /** How many runs have begun so far. */
  runs (): number
  /** Resolves when the first run has begun. */
  began (): Promise<void>
  /** Lets the runs end, including those that begin later. */
  finish (): void
}

/** A protected POST /x whose handler runs as long as the test wants. */
export function holdRoute (app: FastifyInstance, answer: (run: number) => unknown = () => 'done'): HeldRoute {
  const { opened, open } = gate()
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => {
    const run = ++runs
    await opened
    return answer(run)
  })
  return {
    runs: () => runs,
    began: () => until(() => runs > 0, 'the first run'),
    finish: open
  }
}
