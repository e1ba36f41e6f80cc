import * as zlib from 'node:zlib'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import idempotency, { IdempotencyOptionError, MemoryStore } from '../plugin/index.ts'
import type { IdempotencyOptions } from '../plugin/index.ts'
import { checkPluginOptions } from '../plugin/options.ts'
import { build, clientOf } from './helper.ts'

/** Options as a user without TypeScript could write them. */
type Loose = Record<string, unknown>

async function ready (options: Loose, config?: unknown): Promise<unknown> {
  const app = Fastify()
  app.register(idempotency, options as unknown as IdempotencyOptions)
  if (config !== undefined) {
    app.register(async (child) => {
      child.post('/pay', { config: { idempotency: config as boolean } }, async () => 'paid')
    })
  }
  try {
    await app.ready()
    return null
  } catch (error) {
    return error
  } finally {
    await app.close()
  }
}

const good = { store: new MemoryStore(), scope: 'global' }

/** For each option: values that are refused, and what the message says that it must be. */
const BAD: Record<string, { values: unknown[], expected: RegExp, route: boolean }> = {
  scope: { values: ['customer', '', 7, null, {}], expected: /must be a function .*or 'global'/, route: true },
  header: {
    values: ['', 'two words', 'a:b', 'ü', 7, null],
    expected: /must be the name of a request header/,
    route: true
  },
  key: {
    values: ['x-event-id', null, 7],
    expected: /must be a function \(request\) => string \| number \| undefined/,
    route: true
  },
  required: { values: ['no', 0, null], expected: /must be true or false/, route: true },
  journalLookup: { values: [true, 'never', 1], expected: /must be 'retries' or 'always'/, route: true },
  journalAnswers: { values: ['yes', 1, null], expected: /must be true or false/, route: true },
  validateKey: { values: [/./, 'uuid', null], expected: /must be a function \(key\) => boolean/, route: true },
  fingerprint: { values: ['body', true, null], expected: /must be a function \(request\)/, route: true },
  retention: {
    values: [0, -1, 1.5, '1d', NaN, Infinity, 2 ** 48, null],
    expected: /must be a whole number of milliseconds from 1 to/,
    route: true
  },
  lease: {
    values: [0, -1, 1.5, '30s', NaN, Infinity, 2 ** 31, null],
    expected: /must be a whole number of milliseconds from 1 to 2147483647/,
    route: true
  },
  maxExecution: {
    values: [-1, 1.5, '5m', Infinity, null],
    expected: /must be a whole number of milliseconds from 0 to/,
    route: true
  },
  onConflict: { values: ['queue', true, null], expected: /must be 'auto' or 'wait' or 'reject'/, route: true },
  waitTimeout: {
    values: [-1, 0.5, '10s', Infinity],
    expected: /must be a whole number of milliseconds from 0 to/,
    route: true
  },
  maxWaitersPerKey: {
    values: [-1, 0.5, '1', Infinity, null],
    expected: /must be a whole number of requests from 0 to/,
    route: true
  },
  retryAfter: {
    values: [-1, 0.5, '1', Infinity],
    expected: /must be a whole number of seconds from 0 to/,
    route: true
  },
  onStoreError: { values: ['ignore', false, null], expected: /must be 'reject' or 'bypass'/, route: true },
  sanitize: {
    values: ['mask', true, null],
    expected: /must be a function \(response, request\) => \{ headers, body \}/,
    route: true
  },
  replayable: { values: [[200], true, null], expected: /must be a function \(statusCode\) => boolean/, route: true },
  maxBodySize: {
    values: [-1, 1.5, '1mb', Infinity],
    expected: /must be a whole number of bytes from 0 to/,
    route: true
  },
  journal: {
    values: [true, 'pg', null, {}, { query: () => {} }],
    expected: /must be a journal, such as postgresJournal\(app\.pg\), or false/,
    route: true
  },
  excludeHeaders: {
    values: ['x-a', [7], {}, null],
    expected: /must be an array of response header names/,
    route: true
  },
  global: { values: ['yes', 1, null], expected: /must be true or false/, route: false },
  storeTimeout: {
    values: [0, -1, '1s', Infinity],
    expected: /must be a whole number of milliseconds from 1 to/,
    route: false
  },
  replayCache: {
    values: [true, null, 0, 5_000, '5s', []],
    expected: /must be false or an object with "maxSize" and "maxAge"/,
    route: false
  },
  maxWaiters: {
    values: [-1, 0.5, '1', Infinity, null],
    expected: /must be a whole number of requests from 0 to/,
    route: false
  },
  closeTimeout: {
    values: [-1, 0.5, '30s', Infinity, null],
    expected: /must be a whole number of milliseconds from 0 to/,
    route: false
  },
  recordVersion: { values: [0, 3, '2', null], expected: /must be 1 or 2/, route: false },
  compress: {
    values: ['gzip', 1, null, [], () => {}],
    expected: /must be true, false or an object with "minSize" and "algorithm"/,
    route: false
  },
  redisChecks: { values: ['no', 0, null], expected: /must be true or false/, route: false },
  errors: { values: ['json', true, null], expected: /must be 'problem\+json' or 'error-handler'/, route: false },
  docsUrl: {
    values: ['/docs', 'docs', 'https://a.example/>x', 7, null],
    expected: /must be an absolute URL/,
    route: false
  },
  keyPrefix: { values: [7, null, {}], expected: /must be a string/, route: false }
}

for (const [name, { values, expected, route }] of Object.entries(BAD)) {
  t.test(`a wrong value of the option "${name}" rejects at ready(), with its name and the reason`, async (t) => {
    for (const value of values) {
      const error = await ready({ ...good, [name]: value })
      t.type(error, IdempotencyOptionError)
      t.match((error as Error).message, new RegExp(`option "${name}" `), String(value))
      t.match((error as Error).message, expected, String(value))
      t.equal((error as IdempotencyOptionError).code, 'FST_IDEMPOTENCY_OPTION_INVALID')
      if (!route) continue
      const inRoute = await ready(good, { [name]: value })
      t.match(
        (inRoute as Error).message,
        new RegExp(`route POST /pay: option "${name}" `),
        `in a route: ${String(value)}`
      )
      t.match((inRoute as Error).message, expected)
    }
  })

  if (!route) {
    t.test(`option "${name}" is refused in a route, where it would have no effect`, async (t) => {
      t.match(await ready(good, { [name]: undefined }), {
        message: new RegExp(`route POST /pay: option "${name}" can only be set where the plugin is registered`)
      })
    })
  }
}

t.test('an unknown option is refused with those that are known', async (t) => {
  t.match(await ready({ ...good, leese: 1 }), { message: /unknown option "leese"; known are scope, header, / })
  t.match(await ready(good, { toString: 1 }), { message: /route POST \/pay: unknown option "toString"/ })
})

t.test('a route that asks for something else than true, false or options is refused', async (t) => {
  for (const value of ['yes', 1, null, []]) {
    t.match(
      await ready(good, value),
      { message: /route POST \/pay: config.idempotency must be true, false or an object of options, got / },
      String(value)
    )
  }
})

t.test('a wrong member of "compress" is refused, with its name and the reason', async (t) => {
  const withRedis = { scope: 'global', redis: new Redis({ lazyConnect: true }) }
  for (const minSize of [-1, 1.5, '4kb', null, Infinity]) {
    t.match(await ready({ ...withRedis, compress: { minSize } }), {
      message: /option "compress.minSize" must be a whole number of bytes from 0 to 536870911, got /
    }, String(minSize))
  }
  for (const algorithm of ['gzip', 1, null]) {
    t.match(await ready({ ...withRedis, compress: { algorithm } }), {
      message: /option "compress.algorithm" must be 'brotli' or 'zstd', got /
    }, String(algorithm))
  }
  t.match(await ready({ ...withRedis, compress: { level: 9 } }), {
    message: /unknown option "compress.level"; known are compress.minSize, compress.algorithm/
  })
  for (const compress of [true, false, {}, { minSize: undefined }, { minSize: 0, algorithm: 'brotli' }]) {
    t.equal(await ready({ ...withRedis, compress }), null, JSON.stringify(compress))
  }
})

t.test('compress with zstd needs a Node.js that has it', async (t) => {
  const redis = new Redis({ lazyConnect: true })
  const answer = await ready({ scope: 'global', redis, compress: { algorithm: 'zstd' } })
  if ('zstdCompress' in zlib) t.equal(answer, null)
  else {
    t.match(answer, {
      message: 'option "compress.algorithm" must be \'brotli\': \'zstd\' needs Node.js 22.15 or later, and this is ' +
        `${process.version}, got "zstd"`
    })
  }
})

t.test('compress goes with redis, and not with records of version 1', async (t) => {
  t.match(await ready({ ...good, compress: true }), { message: /option "compress" goes with "redis"/ })
  const redis = new Redis({ lazyConnect: true })
  t.match(await ready({ scope: 'global', redis, recordVersion: 1, compress: true }), {
    message: /the options "compress" and "recordVersion: 1" exclude each other: version 1 has no compressed bodies/
  })
  t.equal(await ready({ scope: 'global', redis, recordVersion: 1, compress: false }), null)
})

t.test('a wrong option of a route that is declared in the root context rejects at ready() too', async (t) => {
  const { app } = await build(t, { store: new MemoryStore() })
  app.post('/pay', { config: { idempotency: { lease: 0 } } }, async () => 'paid')
  app.post('/fine', { config: { idempotency: true } }, async () => 'fine')
  await t.rejects(
    async () => {
      await app.ready()
    },
    { name: 'IdempotencyOptionError', message: /route POST \/pay: option "lease"/ }
  )
})

t.test('the scope has no default, since none is safe', async (t) => {
  t.match(await ready({ store: new MemoryStore() }), { message: /option "scope" is required/ })
})

t.test('exactly one of redis and store is required', async (t) => {
  t.match(await ready({ scope: 'global' }), { message: /one of the options "redis" and "store" is required/ })
  const redis = new Redis({ lazyConnect: true })
  t.match(await ready({ scope: 'global', redis, store: new MemoryStore() }), {
    message: /"redis" and "store" exclude each other/
  })
  t.equal(await ready({ scope: 'global', redis }), null)
})

t.test('a client or a store without the methods that are needed is refused, and they are named', async (t) => {
  t.match(await ready({ scope: 'global', redis: { get () {}, set () {} } }), {
    message: /option "redis" must be an ioredis Redis or Cluster; this one has no setBuffer, evalsha, /
  })
  t.match(await ready({ scope: 'global', redis: 'redis://localhost' }), {
    message: /option "redis" must be an ioredis Redis or Cluster, got "redis:\/\/localhost"/
  })
  t.match(await ready({ scope: 'global', store: new Map() }), {
    message:
      /option "store" must be a store; this one has no claim, renew, complete, release, withdraw, markLeft, wait, find, forget/
  })
})

t.test('the password of a URL that is given in place of a client appears in no message', async (t) => {
  const error = await ready({ scope: 'global', redis: 'rediss://app:s3cret@redis.example:6380/0' })
  t.match(error, {
    message: /option "redis" must be an ioredis Redis or Cluster, got "rediss:\/\/…@redis.example:6380\/0"$/
  })
})

t.test('keyPrefix goes with redis only', async (t) => {
  t.match(await ready({ ...good, keyPrefix: 'a:' }), { message: /option "keyPrefix" goes with "redis"/ })
})

t.test('an option that is undefined has its default', async (t) => {
  t.equal(
    await ready({
      ...good,
      ...Object.fromEntries(
        Object.keys(BAD)
          .filter(name => name !== 'scope')
          .map(name => [name, undefined])
      )
    }),
    null
  )
})

t.test('a wrong size or age of the replay cache is refused, and the error names it', async (t) => {
  const WRONG: Array<[replayCache: object, expected: string]> = [
    ...[0, 4_095, 4_096.5, '16mb', Infinity, null].map(maxSize => [
      { maxSize }, 'option "maxSize" must be a whole number of bytes from 4096 to'
    ] as [object, string]),
    ...[0, -1, 1.5, '5s', Infinity, 2 ** 31, null].map(maxAge => [
      { maxAge }, 'option "maxAge" must be a whole number of milliseconds from 1 to 2147483647'
    ] as [object, string]),
    [{ maxsize: 4_096 }, 'unknown option "maxsize"; known are maxSize, maxAge']
  ]
  for (const [replayCache, expected] of WRONG) {
    const error = await ready({ ...good, replayCache })
    t.ok(error instanceof IdempotencyOptionError)
    t.match((error as Error).message, `fastify-idempotency: option "replayCache": ${expected}`)
  }
})

t.test('the size or the age of the replay cache alone leaves the default of the other', async (t) => {
  const replayCacheOf = (replayCache: IdempotencyOptions['replayCache']): unknown =>
    checkPluginOptions({ store: new MemoryStore(), scope: 'global', ...(replayCache !== undefined && { replayCache }) })
      .replayCache
  t.same(replayCacheOf({ maxAge: 1 }), { maxSize: 16_777_216, maxAge: 1 })
  t.same(replayCacheOf({ maxSize: 4_096 }), { maxSize: 4_096, maxAge: 5_000 })
  t.same(replayCacheOf({}), replayCacheOf(undefined))
  t.equal(replayCacheOf(false), false)
})

t.test('the defaults are those of the documentation', async (t) => {
  const { route, store, redis, ...plugin } = checkPluginOptions({ store: new MemoryStore(), scope: 'global' })
  const { validateKey, replayable, excludeHeaders, ...simple } = route
  t.same(plugin, {
    global: false,
    storeTimeout: 1_000,
    replayCache: { maxSize: 16_777_216, maxAge: 5_000 },
    maxWaiters: 10_000,
    closeTimeout: 25_000,
    redisChecks: true,
    recordVersion: 2,
    compress: false,
    errors: 'problem+json',
    docsUrl: 'https://github.com/fastify-idempotency/fastify-idempotency#what-clients-see',
    keyPrefix: 'idem:'
  })
  t.same(simple, {
    scope: 'global',
    header: 'idempotency-key',
    required: true,
    retention: 86_400_000,
    lease: 30_000,
    maxExecution: 300_000,
    onConflict: 'auto',
    waitTimeout: 10_000,
    maxWaitersPerKey: 1_000,
    retryAfter: 1,
    onStoreError: 'reject',
    maxBodySize: 1_048_576,
    journal: false,
    journalLookup: 'retries',
    journalAnswers: false
  })
  t.equal(excludeHeaders.size, 0)
  t.same(['a', '!', '~', 'x'.repeat(255)].map(validateKey), [true, true, true, true])
  t.same(['', ' ', 'a b', 'é', '\x7f', 'x'.repeat(256)].map(validateKey), [false, false, false, false, false, false])
  const released = Array.from({ length: 600 }, (_, status) => status).filter(
    status => status >= 200 && !replayable(status)
  )
  t.same(released, [408, 425, 429, ...Array.from({ length: 100 }, (_, i) => 500 + i)])
})

t.test('what is asked of a journal needs one, on the route where it is asked for', async (t) => {
  const journal = { record: async () => {}, find: async () => null, purge: async () => false, purgeInterval: 0 }
  for (const asked of [{ journalAnswers: true }, { journalLookup: 'always' }]) {
    t.match(await ready(good, asked), {
      message: /the options "journalLookup" and "journalAnswers" need a "journal", and this route has none/
    })
    t.equal(await ready({ ...good, ...asked }, { journal }), null)
    t.equal(await ready({ ...good, journal }, asked), null)
  }
})

t.test('a journal and running unprotected exclude each other, wherever the two are set', async (t) => {
  const journal = { record: async () => {}, find: async () => null, purge: async () => false, purgeInterval: 0 }
  const expected = /the options "journal" and "onStoreError: 'bypass'" exclude each other/
  t.match(await ready({ ...good, journal, onStoreError: 'bypass' }), { message: expected })
  t.match(await ready({ ...good, journal }, { onStoreError: 'bypass' }), { message: expected })
  t.match(await ready({ ...good, onStoreError: 'bypass' }, { journal }), { message: expected })
  t.equal(await ready({ ...good, journal }, { onStoreError: 'bypass', journal: false }), null)
})

t.test('a route’s options go before the plugin’s, and leave the other routes alone', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), header: 'X-Plugin-Key', retryAfter: 5 })
  app.post('/own', { config: { idempotency: { header: 'X-Own-Key' } } }, async request => request.idempotency?.key)
  app.post('/other', { config: { idempotency: true } }, async request => request.idempotency?.key)
  const client = await listen()
  t.equal((await client.post('/own', null, undefined, { 'x-own-key': 'a' })).text, 'a')
  t.match((await client.post('/own', null, undefined, { 'x-plugin-key': 'a' })).json.detail, /header x-own-key/)
  t.equal((await client.post('/other', null, undefined, { 'x-plugin-key': 'b' })).text, 'b')
})

t.test('only routes that ask are protected; with global, all POST and PATCH routes that do not refuse', async (t) => {
  for (const global of [false, true]) {
    const { app, listen } = await build(t, { store: new MemoryStore(), global })
    const handler = async (request: { idempotency: unknown }): Promise<unknown> => ({
      protected: request.idempotency !== null
    })
    for (const [name, config] of Object.entries({
      silent: {},
      yes: { idempotency: true },
      no: { idempotency: false },
      own: { idempotency: {} }
    })) {
      app.route({ method: 'POST', url: `/${name}`, config, handler })
      app.route({ method: 'PATCH', url: `/${name}`, config, handler })
      app.route({ method: 'PUT', url: `/${name}`, config, handler })
      app.route({ method: 'GET', url: `/${name}`, config, handler })
    }
    const { url } = await listen()
    const seen: Record<string, string> = {}
    for (const name of ['silent', 'yes', 'no', 'own']) {
      for (const method of ['POST', 'PATCH', 'PUT', 'GET']) {
        const response = await fetch(`${url}/${name}`, { method, headers: { 'idempotency-key': `${method}-${name}` } })
        if ((await response.json() as { protected: boolean }).protected) seen[name] = `${seen[name] ?? ''}${method} `
      }
    }
    t.same(seen, {
      ...(global ? { silent: 'POST PATCH ' } : {}),
      yes: 'POST PATCH PUT GET ',
      own: 'POST PATCH PUT GET '
    }, `global: ${global}`)
  }
})

t.test('registering it twice is refused with what to do instead', async (t) => {
  const { app } = await build(t, { store: new MemoryStore() })
  app.register(idempotency, { store: new MemoryStore(), scope: 'global' })
  await t.rejects(async () => { await app.ready() }, /registered already, here or in a parent context/)
})

t.test('two sibling contexts may each have their own', async (t) => {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  for (const name of ['a', 'b']) {
    app.register(async (child) => {
      await child.register(idempotency, { store: new MemoryStore(), scope: 'global' })
      child.post(`/${name}`, { config: { idempotency: true } }, async request => request.idempotency?.attempt)
    })
  }
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  for (const name of ['a', 'b']) {
    t.equal((await client.post(`/${name}`, 'k')).text, '1')
    t.equal((await client.post(`/${name}`, 'k')).replayed, true)
  }
})

t.test('what register takes beside the options is not one of them, and moves nothing', async (t) => {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(idempotency, {
    store: new MemoryStore(),
    scope: 'global',
    prefix: '/elsewhere',
    logLevel: 'silent',
    logSerializers: { id: String }
  })
  app.post('/pay', { config: { idempotency: true } }, async () => 'paid')
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.equal((await client.post('/pay', 'k')).text, 'paid')
  t.equal((await client.post('/pay', 'k')).replayed, true)
  t.match(
    await ready(good, { prefix: '/x' }),
    { message: /unknown option "prefix"/ },
    'a route’s config has nothing of it'
  )
})
