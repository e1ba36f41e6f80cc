import diagnostics from 'node:diagnostics_channel'
import fp from 'fastify-plugin'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import idempotency from '../plugin/index.ts'
import type { PluginSettings } from '../plugin/options.ts'
import { clientOf, connectRedis, MemoryStore } from './helper.ts'
import { ownRedis } from './store/own-redis.ts'

type Declare = (app: FastifyInstance) => unknown

const asks = { config: { idempotency: true } }
const handler = async (): Promise<string> => 'charged'
const pay: Declare = app => app.post('/pay', asks, handler)
const plain: Declare = app => app.post('/pay', handler)

function register (app: FastifyInstance, options: { global?: boolean } = {}): PromiseLike<unknown> {
  return app.register(idempotency, { store: new MemoryStore(), scope: 'global', ...options })
}

function newApp (t: Test, options = {}): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true, ...options })
  t.teardown(() => app.close())
  return app
}

async function refused (t: Test, app: FastifyInstance, ...expected: RegExp[]): Promise<void> {
  const error: Error & { code?: string } | null = await app.ready().then(() => null, (error: Error) => error)
  t.equal(error?.code, 'FST_IDEMPOTENCY_ROUTE_UNSEEN')
  for (const text of expected) t.match(error?.message, text)
}

const EARLY =
  /declared before the plugin was loaded\. Register the plugin before the routes: "await app\.register\(idempotency, …\)" first/
const OUTSIDE =
  /declared outside of the context that the plugin was registered in\. Wrap your own plugin that registers it by fastify-plugin/

t.test('a route declared before the plugin is loaded keeps the app from being ready, wherever it is', async (t) => {
  const places: Array<[where: string, declare: Declare]> = [
    ['in the root', async app => { pay(app); await register(app) }],
    ['in the root, the plugin not awaited', (app) => { void register(app); pay(app) }],
    ['in the root, the plugin in after()', (app) => { pay(app); app.after(() => { void register(app) }) }],
    ['in a child', async app => { await app.register(async child => { pay(child) }); await register(app) }],
    [
      'in a child of a child',
      async (app) => {
        await app.register(async (child) => {
          await child.register(async (inner) => {
            pay(inner)
          })
        })
        await register(app)
      }
    ],
    ['beside the plugin, in its child', app => app.register(async child => { pay(child); await register(child) })],
    ['by another plugin', async app => { await app.register(fp(async app => { pay(app) })); await register(app) }],
    ['by an onRoute hook that asks for it', async (app) => {
      app.addHook('onRoute', (route) => { route.config = { ...route.config, idempotency: true } })
      plain(app)
      await register(app)
    }],
    ['by an onRoute hook that adds it', async (app) => {
      app.addHook('onRoute', function (route) { if (route.url === '/other') pay(this) })
      app.post('/other', handler)
      await register(app)
    }]
  ]
  for (const [where, declare] of places) {
    t.comment(where)
    const app = newApp(t)
    await declare(app)
    await refused(t, app, /the route POST \/pay is to be protected, and would run unprotected/, EARLY)
  }
})

t.test('with global, so does an early route that says nothing, ' +
  'and none that HTTP calls idempotent or that wants none', async (t) => {
  for (const wanted of [{}, { idempotency: true }, { idempotency: { lease: 1_000 } }]) {
    const app = newApp(t)
    app.post('/pay', { config: wanted }, handler)
    app.patch('/order', handler)
    app.get('/orders', handler)
    app.put('/order', handler)
    app.post('/search', { config: { idempotency: false } }, handler)
    await register(app, { global: true })
    await refused(t, app, /the routes POST \/pay, PATCH \/order are to be protected/, EARLY)
  }
})

t.test('a route outside of the context that the plugin is registered in keeps the app from being ready', async (t) => {
  const wrapper = async (app: FastifyInstance): Promise<void> => { await register(app) }
  const places: Array<[where: string, declare: Declare]> = [
    ['in the root', async (app) => { await app.register(wrapper); pay(app) }],
    ['in the root, before', async (app) => { pay(app); await app.register(wrapper) }],
    ['in a sibling', async (app) => { await app.register(wrapper); await app.register(async child => { pay(child) }) }],
    [
      'in a sibling, before',
      async (app) => {
        await app.register(async (child) => {
          pay(child)
        })
        await app.register(wrapper)
      }
    ],
    ['in the context around it', app => app.register(async (child) => { await child.register(wrapper); pay(child) })],
    ['beside a route that is protected', app => {
      app.register(async (child) => { await register(child); child.post('/fine', asks, handler) })
      pay(app)
    }]
  ]
  for (const [where, declare] of places) {
    t.comment(where)
    const app = newApp(t)
    await declare(app)
    await refused(t, app, /the route POST \/pay is to be protected/, OUTSIDE)
  }
  const app = newApp(t)
  await app.register(fp(wrapper))
  pay(app)
  await app.ready()
  t.pass('wrapped by fastify-plugin it counts')
})

t.test('global that has no route in its context is told of those outside', async (t) => {
  const app = newApp(t)
  await app.register(async child => register(child, { global: true }))
  plain(app)
  await refused(t, app, /the route POST \/pay is to be protected/, OUTSIDE)

  const some = newApp(t)
  await some.register(async (child) => { await register(child, { global: true }); child.post('/fine', handler) })
  plain(some)
  await some.ready()
  t.pass('with a route in its context the others are left alone')

  const off = newApp(t)
  await off.register(async child => register(child, { global: true }))
  await off.register(async (child) => { await register(child); child.post('/fine', asks, handler) })
  plain(off)
  await off.ready()
  t.pass('and with one in the context of another registration')
})

t.test('a route that Fastify refused as a duplicate does not keep the app from being ready', async (t) => {
  for (const constraints of [undefined, { host: 'pay.example' }]) {
    const app = newApp(t)
    app.post('/pay', { ...constraints && { constraints } }, handler)
    t.throws(() => app.post('/pay', { ...asks, ...(constraints && { constraints }) }, handler), {
      code: 'FST_ERR_DUPLICATED_ROUTE'
    })
    await register(app)
    await app.ready()
  }
  const partly = newApp(t)
  partly.patch('/pay', handler)
  t.throws(() => partly.route({ method: ['POST', 'PATCH'], url: '/pay', ...asks, handler }))
  await register(partly)
  await refused(t, partly, /the route POST,PATCH \/pay is to be protected/)
})

t.test('a route that differs from another one by its constraints is not taken for it', async (t) => {
  const app = newApp(t)
  plain(app)
  app.post('/pay', { ...asks, constraints: { host: 'pay.example' } }, handler)
  await register(app)
  await refused(t, app, /the route POST \/pay is to be protected/, EARLY)
})

t.test('a route of an app that never registers the plugin keeps it from being ready', async (t) => {
  const app = newApp(t)
  pay(app)
  await refused(
    t,
    app,
    /the route POST \/pay is to be protected/,
    /in an app that has no such plugin\. Register it before the routes/
  )
})

t.test('both reasons are told together, and of many routes the first are named', async (t) => {
  const app = newApp(t)
  for (let i = 0; i < 12; i++) app.post(`/early-${i}`, asks, handler)
  await app.register(async (child) => { child.post('/in-it', asks, handler); await register(child) })
  await refused(
    t,
    app,
    /the routes POST \/early-0, .* POST \/early-9 and 2 more are to be protected/,
    /the route POST \/in-it is/,
    EARLY,
    OUTSIDE
  )
})

t.test('a route with several methods is named with them, and its HEAD sibling is not taken for a route', async (t) => {
  const app = newApp(t, { exposeHeadRoutes: true })
  app.route({ method: ['GET', 'PUT'], url: '/x', ...asks, handler })
  app.get('/y', asks, handler)
  app.head('/z', asks, handler)
  await register(app)
  await refused(t, app, /the routes GET,PUT \/x, GET \/y are to be protected/)
})

t.test('what is protected, and what asks for nothing, is left alone', async (t) => {
  const app = newApp(t)
  app.get('/health', handler)
  app.post('/refusing', { config: { idempotency: false } }, handler)
  await app.register(async (child) => { child.post('/webhook', handler) })
  await register(app)
  // A hook of another plugin that replaces the route's config with its own.
  app.addHook('onRoute', (route) => { if (route.url === '/replaced') route.config = { idempotency: true } })
  app.get('/', asks, handler)
  app.register(async (child) => {
    pay(child)
    child.post('/replaced', handler)
    child.register(async (inner) => { inner.post('/', asks, handler) }, { prefix: '/inner' })
  })
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  for (const path of ['/pay', '/replaced', '/inner', '/inner/']) {
    t.equal((await client.post(path, path)).replayed, false, path)
    t.equal((await client.post(path, path)).replayed, true, path)
  }
  t.equal((await client.post('/refusing')).status, 200)
})

t.test('a copy of a protected route outside of the plugin’s context keeps the app from being ready', async (t) => {
  const app = newApp(t)
  app.register(async (child) => {
    await register(child)
    child.addHook('onRoute', (route) => {
      if (route.method === 'POST') app.route({ ...route, url: `/v1${route.url}` })
    })
    pay(child)
  })
  await refused(t, app, /the route POST \/v1\/pay is to be protected/, OUTSIDE)
})

t.test('a wrong option of a route is told as such, not as a missing protection', async (t) => {
  const app = newApp(t)
  await register(app)
  app.post('/pay', { config: { idempotency: { lease: 0 } } }, handler)
  await t.rejects(
    async () => {
      await app.ready()
    },
    { name: 'IdempotencyOptionError', message: /route POST \/pay: option "lease"/ }
  )
})

t.test('two apps of a process do not know of each other’s routes', async (t) => {
  const [one, other] = [newApp(t), newApp(t)]
  pay(one)
  await register(other)
  pay(other)
  await other.ready()
  await refused(t, one, /no such plugin/)
})

/** An app that was created before the package was imported, so that the package could not observe it. */
function unheardOf (t: Test): FastifyInstance {
  const channel = diagnostics.channel('fastify.initialization')
  const { publish } = channel
  channel.publish = () => {}
  try {
    return newApp(t)
  } finally {
    channel.publish = publish
  }
}

t.test('in an app that was made before the package was imported, ' +
  'what is declared later outside keeps it from being ready', async (t) => {
  for (const declareOutside of [pay, (app: FastifyInstance) => app.register(async (child) => { pay(child) })]) {
    const app = unheardOf(t)
    await app.register(async (child) => {
      await child.register(async (inner) => { await register(inner); inner.post('/fine', asks, handler) })
      child.post('/fine-too', handler)
    })
    declareOutside(app)
    await refused(t, app, /the route POST \/pay is to be protected/, OUTSIDE)
  }
})

for (const global of [false, true]) {
  t.test('in an app that was made before the package was imported, ' +
    `what was declared before answers 500 rather than run unprotected (global: ${global})`, async (t) => {
    const app = unheardOf(t)
    let runs = 0
    const count = async (): Promise<string> => `run ${++runs}`
    app.register(async child => { child.post('/outside', asks, count); child.post('/not-asked', async () => 'fine') })
    app.register(async (child) => {
      child.register(async inner => { inner.post('/child', global ? {} : asks, count) })
      await child.after()
      child.register(idempotency, { store: new MemoryStore(), scope: 'global', global })
      child.post('/early', global ? {} : asks, count)
      child.post('/refusing', { config: { idempotency: false } }, handler)
      child.get('/safe', handler)
    })
    const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
    for (const path of ['/early', '/child', '/outside']) {
      const answer = await client.post(path, 'k')
      t.equal(answer.status, 500, path)
      t.equal(answer.json.code, 'FST_IDEMPOTENCY_ROUTE_UNSEEN')
      t.match(answer.json.message, /declare it after "await app.register\(idempotency, …\)"/)
    }
    t.equal(runs, 0)
    t.equal((await client.post('/refusing')).status, 200)
    t.equal((await client.post('/not-asked')).status, 200)
    t.equal((await client.get('/safe')).status, 200)
    t.equal((await client.post('/nowhere')).status, 404)
  })
}

t.test('in an app that was made before the package was imported, ' +
  'a route whose config another plugin replaces is protected', async (t) => {
  const app = unheardOf(t)
  app.get('/health', handler)
  await register(app)
  app.addHook('onRoute', (route) => { if (route.url === '/pay') route.config = { idempotency: true } })
  pay(app)
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.equal((await client.post('/pay', 'k')).status, 200)
  t.equal((await client.post('/pay', 'k')).replayed, true)
})

t.test('in an app that was made before the package was imported, ' +
  'a second registration refuses what was declared before it', async (t) => {
  const app = unheardOf(t)
  let runs = 0
  app.register(async (child) => {
    child.post('/early', async () => `run ${++runs}`)
    child.register(async (inner) => { await register(inner); inner.post('/fine', asks, handler) })
    child.register(idempotency, { store: new MemoryStore(), scope: 'global', global: true })
  })
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.equal((await client.post('/early', 'k')).json.code, 'FST_IDEMPOTENCY_ROUTE_UNSEEN')
  t.equal((await client.post('/fine', 'k')).status, 200)
  t.equal(runs, 0)
})

t.test('however often the package is loaded, each app is watched once, for all copies', async (t) => {
  const app = newApp(t)
  for (let i = 0; i < 3; i++) {
    const copy = await import(`../plugin/unprotected.ts?copy=${i}`) as typeof import('../plugin/unprotected.ts')
    t.equal(copy.watchRoutes(app, {} as PluginSettings).watched.fromStart, true)
  }
  const hooks: string[] = []
  diagnostics.channel('fastify.initialization').publish({ fastify: { addHook: (name: string) => hooks.push(name) } })
  t.strictSame(hooks, ['onRoute', 'onReady'])
})

/**
 * What requests get from an app whose `ready()` has rejected: @fastify/aws-lambda keeps calling it while its process
 * lives.
 */
async function askUnready (t: Test, app: FastifyInstance): Promise<{ status: number, json: Record<string, unknown> }> {
  const ask = { method: 'POST', url: '/pay', headers: { 'idempotency-key': 'k' } } as const
  await t.rejects(async () => { await app.inject(ask) })
  const answer = await app.inject(ask)
  return { status: answer.statusCode, json: answer.json() }
}

t.test('an app that a route kept from being ready goes on refusing it, and what is protected, ' +
  'to whoever asks all the same', async (t) => {
  let runs = 0
  const count = async (): Promise<string> => `run ${++runs}`
  const places: Array<[where: string, declare: Declare]> = [
    ['early', async (app) => { app.post('/pay', asks, count); await register(app); app.post('/fine', asks, count) }],
    [
      'early, with global',
      async (app) => {
        app.post('/pay', count)
        await register(app, { global: true })
        app.post('/fine', count)
      }
    ],
    [
      'outside',
      (app) => {
        app.post('/pay', asks, count)
        app.register(async (child) => {
          await register(child)
          child.post('/fine', asks, count)
        })
      }
    ]
  ]
  for (const [where, declare] of places) {
    t.comment(where)
    const app = newApp(t)
    app.get('/health', handler)
    app.post('/refusing', { config: { idempotency: false } }, handler)
    await declare(app)
    t.match(await askUnready(t, app), { status: 500, json: { code: 'FST_IDEMPOTENCY_ROUTE_UNSEEN' } })
    const fine = await app.inject({ method: 'POST', url: '/fine', headers: { 'idempotency-key': 'k' } })
    t.match({ status: fine.statusCode, ...fine.json() }, { status: 500, code: 'FST_IDEMPOTENCY_ROUTE_UNSEEN' })
    t.equal((await app.inject('/health')).statusCode, 200)
    t.equal((await app.inject({ method: 'POST', url: '/refusing' })).statusCode, 200)
  }
  const alone = newApp(t)
  alone.post('/pay', asks, count)
  t.match(
    await askUnready(t, alone),
    { status: 500, json: { code: 'FST_IDEMPOTENCY_ROUTE_UNSEEN' } },
    'without the plugin'
  )
  t.equal(runs, 0)
})

t.test('an app that wrong options kept from being ready runs none of its routes unprotected', async (t) => {
  let runs = 0
  const count = async (): Promise<string> => `run ${++runs}`
  const route = newApp(t)
  await register(route)
  route.post('/pay', { config: { idempotency: { lease: 0 } } }, count)
  route.post('/fine', asks, count)
  t.match(await askUnready(t, route), {
    status: 500,
    json: { code: 'FST_IDEMPOTENCY_OPTION_INVALID', message: /option "lease"/ }
  })
  t.equal((await route.inject({ method: 'POST', url: '/fine', headers: { 'idempotency-key': 'k' } })).statusCode, 500)

  const plugin = newApp(t)
  plugin.register(idempotency, { store: new MemoryStore(), scope: 'global', lease: 0 })
  plugin.post('/pay', asks, count)
  t.match(await askUnready(t, plugin), { status: 503, json: { message: /did not become ready/ } })
  t.equal(runs, 0)
})

t.test('an app that Redis kept from being ready runs nothing unprotected, even with onStoreError bypass', async (t) => {
  const server = await ownRedis(t)
  await server.admin.config('SET', 'requirepass', 'right')
  const app = newApp(t)
  const redis = connectRedis(t, { url: server.url.replace('//', '//:wrong@') })
  await app.register(idempotency, { redis, scope: 'global', onStoreError: 'bypass' })
  let runs = 0
  app.post('/pay', asks, async () => `run ${++runs}`)
  t.match(await askUnready(t, app), { status: 500, json: { message: /refuses the password/ } })
  t.equal(runs, 0)
})

t.test('an app that another plugin kept from being ready does not run what this one could not look at', async (t) => {
  const app = newApp(t)
  app.addHook('onReady', async () => { throw new Error('no database') })
  await register(app)
  let runs = 0
  app.post('/pay', asks, async () => `run ${++runs}`)
  t.match(await askUnready(t, app), { status: 503, json: { message: /did not become ready/ } })
  t.equal(runs, 0)
})
