import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import type { Http2ServerRequest } from 'node:http2'
import t from 'tap'
import type { Test } from 'tap'
import { Connection } from './connection.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { build, gate, lookAfterLeasesOften, MemoryStore, until } from './helper.ts'
import type { Answer } from './helper.ts'

/** Longer than any machine is busy. */
const LEASE = 60_000

t.test('nothing is claimed by a request that fails a check in any hook, whoever registered it and when', async (t) => {
  const refuse = async (request: { headers: Record<string, unknown> }, hook: string): Promise<void> => {
    if (request.headers['x-fail'] === hook) throw Object.assign(new Error(`refused in ${hook}`), { statusCode: 401 })
  }
  const instanceHooks = (app: FastifyInstance, when: string): void => {
    app.addHook('onRequest', async request => refuse(request, `${when} onRequest`))
    app.addHook('preParsing', async request => refuse(request, `${when} preParsing`))
    app.addHook('preValidation', async request => refuse(request, `${when} preValidation`))
    app.addHook('preHandler', async request => refuse(request, `${when} preHandler`))
  }
  /** What a rate limiter does: its own onRoute hook adds a preHandler to every route. */
  const onRouteHook = (app: FastifyInstance, when: string): void => {
    app.addHook('onRoute', (route) => {
      const added = async (request: { headers: Record<string, unknown> }): Promise<void> =>
        refuse(request, `${when} onRoute`)
      route.preHandler = [
        ...(Array.isArray(route.preHandler)
          ? route.preHandler
          : route.preHandler === undefined
            ? []
            : [route.preHandler]),
        added
      ]
    })
  }
  const { app, listen } = await build(t, {}, (app) => {
    instanceHooks(app, 'earlier')
    onRouteHook(app, 'earlier')
  })
  instanceHooks(app, 'later')
  onRouteHook(app, 'later')
  let runs = 0
  app.post('/x', {
    config: { idempotency: true },
    schema: { body: { type: 'object', required: ['amount'], properties: { amount: { type: 'integer' } } } },
    preValidation: async request => refuse(request, 'route preValidation'),
    preHandler: [async request => refuse(request, 'route preHandler')]
  }, async () => `run ${++runs}`)
  const client = await listen()

  const hooks = [
    ...['earlier', 'later'].flatMap(when =>
      ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onRoute'].map(hook => `${when} ${hook}`)
    ),
    'route preValidation', 'route preHandler'
  ]
  for (const hook of hooks) {
    const answer = await client.post('/x', 'k', { amount: 1 }, { 'x-fail': hook })
    t.equal(answer.status, 401, hook)
    t.equal(await app.idempotency.find('k', 'global'), null, `${hook}: nothing is claimed`)
  }
  t.equal((await client.post('/x', 'k', { amount: 'many' })).status, 400)
  t.equal(await app.idempotency.find('k', 'global'), null, 'validation: nothing is claimed')

  t.equal((await client.post('/x', 'k', { amount: 1 })).text, 'run 1')
  for (const hook of hooks) {
    t.equal(
      (await client.post('/x', 'k', { amount: 1 }, { 'x-fail': hook })).status,
      401,
      `${hook}: nothing is replayed either`
    )
  }
  t.equal((await client.post('/x', 'k', { amount: 1 })).replayed, true)
})

t.test('a hook array that several routes share is not changed', async (t) => {
  const shared = [async () => {}]
  const { app, listen } = await build(t, { store: new MemoryStore() })
  const hooks = { preValidation: shared, preHandler: shared, onError: [], onResponse: [] }
  const options = { config: { idempotency: true }, ...hooks }
  app.post('/a', options, async () => 'a')
  app.post('/b', options, async () => 'b')
  app.get('/c', { ...options, config: {} }, async () => 'c')
  const client = await listen()
  t.equal((await client.post('/a', 'k1')).text, 'a')
  t.equal((await client.post('/b', 'k2')).text, 'b')
  t.equal((await client.post('/a', 'k1')).replayed, true)
  t.equal((await client.get('/c')).text, 'c')
  t.equal(shared.length, 1)
  t.same([options.onError.length, options.onResponse.length], [0, 0])
})

t.test('a protected GET claims its key, and its HEAD sibling claims none', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  let runs = 0
  app.get('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  const get = async (): Promise<string> =>
    (await fetch(`${client.url}/x`, { headers: { 'idempotency-key': 'k' } })).text()
  t.equal(await get(), 'run 1')
  t.equal(await get(), 'run 1')
  t.equal((await fetch(`${client.url}/x`, { method: 'HEAD' })).status, 200)
  t.equal(app.idempotency.stats().claimed, 1)
})

t.test('a route on several methods is protected on those that it should be', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), global: true })
  app.route({
    method: ['GET', 'POST', 'PUT', 'PATCH'],
    url: '/global',
    handler: async request => ({ protected: request.idempotency !== null })
  })
  app.route({
    method: ['PUT', 'POST'],
    url: '/own',
    config: { idempotency: {} },
    handler: async request => ({ protected: request.idempotency !== null })
  })
  const { url } = await listen()
  const ask = async (method: string, path: string): Promise<unknown> =>
    (
      await (await fetch(url + path, { method, headers: { 'idempotency-key': `${method}${path}` } })).json() as {
        protected: boolean
      }
    ).protected
  t.same(await Promise.all(['GET', 'POST', 'PUT', 'PATCH'].map(method => ask(method, '/global'))), [
    false, true, false, true
  ])
  t.same(await Promise.all(['PUT', 'POST'].map(method => ask(method, '/own'))), [true, true])
})

t.test('a route in a child context is protected, and so is one with a trailing slash variant', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  let runs = 0
  await app.register(async (child) => {
    child.post('/', { config: { idempotency: true } }, async () => `run ${++runs}`)
  }, { prefix: '/child' })
  const client = await listen()
  for (const path of ['/child', '/child/']) {
    const first = await client.post(path, `key-of-${path}`)
    const second = await client.post(path, `key-of-${path}`)
    t.equal(second.replayed, true, path)
    t.equal(second.text, first.text)
  }
  t.equal(runs, 2)
})

t.test('handlers answer in every style that Fastify knows, and run once', async (t) => {
  const { app, listen } = await build(t)
  const styles: Record<string, (request: FastifyRequest, reply: FastifyReply) => unknown> = {
    'async return': async () => 'done',
    'async reply.send and return reply': async (_request, reply) => {
      reply.send('done')
      return reply
    },
    'async reply.send without a return': async (_request, reply) => { reply.send('done') },
    'async await reply.send': async (_request, reply) => { await reply.send('done') },
    'async reply.send followed by an error': async (_request, reply) => {
      reply.header('x-of', 'the first').send('done')
      throw Object.assign(new Error('too late'), { statusCode: 418 })
    },
    'sync return': () => 'done',
    'sync reply.send': (_request, reply) => { reply.send('done') },
    'reply.send in a callback': (_request, reply) => { setImmediate(() => { reply.send('done') }) }
  }
  const runs: Record<string, number> = {}
  for (const [index, [style, handler]] of Object.entries(styles).entries()) {
    app.post(`/${index}`, { config: { idempotency: true } }, (request, reply) => {
      runs[style] = (runs[style] ?? 0) + 1
      return handler(request, reply)
    })
  }
  const client = await listen()
  for (const [index, style] of Object.keys(styles).entries()) {
    for (const replayed of [false, true]) {
      const answer = await client.post(`/${index}`, `k${index}`)
      t.equal(answer.status, 200, style)
      t.equal(answer.text, 'done', style)
      t.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8', style)
      t.equal(answer.replayed, replayed, style)
    }
    t.equal(runs[style], 1, style)
  }
})

t.test('a replay is answered although onSend hooks are slow, and the handler does not run', async (t) => {
  const { app, listen } = await build(t)
  const slow = gate()
  app.addHook('onSend', async (request, _reply, payload) => {
    if (request.idempotency?.replayed === true) await slow.opened
    return payload
  })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  await client.post('/x', 'k')
  const replay = client.post('/x', 'k')
  await until(() => app.idempotency.stats().replayed === 1)
  slow.open()
  t.equal((await replay).text, 'run 1')
  t.equal(runs, 1)
})

t.test('an onSend hook failing after the outcome is stored costs this client the answer, not the charge', async (t) => {
  const { app, listen } = await build(t)
  let fail = true
  app.addHook('onSend', async (_request, reply, payload) => {
    if (fail && reply.statusCode === 200) {
      fail = false
      throw new Error('template broken')
    }
    return payload
  })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  t.equal((await client.post('/x', 'k')).status, 500)
  const retry = await client.post('/x', 'k')
  t.equal(retry.text, 'run 1')
  t.equal(retry.replayed, true)
  t.equal(runs, 1)
})

/** What the client of a replay received when a hook of the app failed on it. */
function isErrorAlone (t: Test, answer: Answer, status: number, message: string): void {
  t.equal(answer.status, status)
  t.match(answer.json, { statusCode: status, message })
  t.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  t.equal(answer.replayed, false, 'it is no replay')
  t.equal(answer.headers.get('location'), null, 'nor has it what goes with the kept answer')
  t.equal(answer.headers.get('x-own'), 'of the app', 'what the app sets on each answer is as it set it')
}

const FAILURES: Record<string, (error: boolean) => boolean> = {
  'on the answer': error => !error,
  'on the answer, and on the error’s own': () => true
}

for (const order of ['before', 'after']) {
  for (const [when, fails] of Object.entries(FAILURES)) {
    for (const status of [201, 402]) {
      t.test(`an onSend hook registered ${order} the plugin that fails on a replay with ${status}, ${when}: ` +
        'the client gets the error alone, and the next retry the answer', async (t) => {
        let failing = false
        const failOnSend = (app: FastifyInstance): void => {
          app.addHook('onSend', async (request, _reply, payload) => {
            if (failing && request.idempotency !== null && fails(String(payload).includes('template broken'))) {
              throw new Error('template broken')
            }
            return payload
          })
        }
        const { app, listen } = await build(t, {}, (app) => {
          app.addHook('onRequest', async (_request, reply) => { reply.header('x-own', 'of the app') })
          if (order === 'before') failOnSend(app)
        })
        if (order === 'after') failOnSend(app)
        let runs = 0
        app.post('/x', { config: { idempotency: true } }, async (_request, reply) => {
          return reply.code(status).headers({ location: '/x/1', 'x-own': 'of the answer' }).send(`run ${++runs}`)
        })
        const client = await listen()
        const first = await client.post('/x', 'k')
        t.equal(first.status, status)
        failing = true
        isErrorAlone(t, await client.post('/x', 'k'), 500, 'template broken')
        failing = false
        const retry = await client.post('/x', 'k')
        t.match(retry, { status, text: 'run 1', replayed: true })
        t.equal(retry.headers.get('x-own'), 'of the answer')
        t.equal(runs, 1)
      })
    }
  }
}

t.test('a hook registered before the plugin that makes an error of a replay without throwing: ' +
  'the client gets what the hook made', async (t) => {
  let failing = false
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-own', 'of the app') })
    app.addHook('onSend', async (_request, reply, payload) => {
      if (!failing) return payload
      reply.code(503).type('application/json; charset=utf-8')
      return '{"statusCode":503,"message":"draining"}'
    })
  })
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
    reply.headers({ location: '/x/1', 'x-own': 'of the answer' }).send('done')
  )
  const client = await listen()
  await client.post('/x', 'k')
  failing = true
  isErrorAlone(t, await client.post('/x', 'k'), 503, 'draining')
  failing = false
  t.match(await client.post('/x', 'k'), { status: 200, text: 'done', replayed: true })
})

for (const [how, refuse, answer] of [
  [
    'throws: the client gets its error alone',
    () => {
      throw Object.assign(new Error('denied'), { statusCode: 403 })
    },
    { text: /denied/, replayed: false }
  ],
  ['does not throw: the client gets the kept answer', () => 'denied', { text: 'kept', replayed: true }]
] as Array<[how: string, refuse: () => unknown, answer: object]>) {
  t.test(`a hook registered before the plugin that refuses a replay with the kept status, and ${how}`, async (t) => {
    let refusing = false
    const { app, listen } = await build(t, {}, (app) => {
      app.addHook('onSend', async (_request, reply, payload) => {
        if (!refusing || String(payload).includes('denied')) return payload
        reply.code(403)
        return refuse()
      })
    })
    app.post('/x', { config: { idempotency: true } }, async (_request, reply) => reply.code(403).send('kept'))
    const client = await listen()
    await client.post('/x', 'k')
    refusing = true
    t.match(await client.post('/x', 'k'), { status: 403, ...answer })
    refusing = false
    t.match(await client.post('/x', 'k'), { status: 403, text: 'kept', replayed: true })
  })
}

t.test('a handlerTimeout while a hook holds a replay: its 503 is no replay', async (t) => {
  const held = gate()
  t.teardown(() => { held.open() })
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onSend', async (request, reply, payload) => {
      if (request.idempotency?.replayed === true && reply.statusCode === 201) await held.opened
      return payload
    })
  })
  app.post('/x', { config: { idempotency: true }, handlerTimeout: 2_000 }, async (_request, reply) =>
    reply.code(201).header('location', '/x/1').send('done')
  )
  const client = await listen()
  await until(async () => (await client.post('/x', 'k')).status === 201, 'a run within its time')
  const answer = await client.post('/x', 'k')
  t.equal(answer.status, 503)
  t.match(answer.json, { code: 'FST_ERR_HANDLER_TIMEOUT' })
  t.equal(answer.replayed, false)
  t.equal(answer.headers.get('location'), null)
})

t.test('an onSend hook registered before the plugin that fails on a first run: ' +
  'its error decides, and the next attempt knows that there was one', async (t) => {
  let failWith: number | null = null
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onSend', async (_request, _reply, payload) => {
      if (failWith === null || String(payload).includes('broken')) return payload
      throw Object.assign(new Error('template broken'), { statusCode: failWith })
    })
  })
  const attempts: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    attempts.push(request.idempotency?.attempt)
    return 'done'
  })
  const client = await listen()
  failWith = 500
  t.match(await client.post('/x', 'released'), { status: 500, json: { message: 'template broken' } })
  t.match(await app.idempotency.find('released', 'global'), { state: 'released', attempt: 1 })
  failWith = 403
  t.match(await client.post('/x', 'kept'), { status: 403, json: { message: 'template broken' } })
  failWith = null
  t.match(await client.post('/x', 'released'), { status: 200, text: 'done', replayed: false })
  t.match(await client.post('/x', 'kept'), { status: 403, json: { message: 'template broken' }, replayed: true })
  t.same(attempts, [1, 1, 2])
})

t.test('an onSend hook registered before the plugin that fails on every answer: ' +
  'the key is given back all the same, at once', async (t) => {
  let failing = true
  const { app, listen } = await build(t, { lease: 86_400_000, onConflict: 'reject' }, (app) => {
    app.addHook('onSend', async (_request, _reply, payload) => {
      if (failing) throw new Error('template broken')
      return payload
    })
  })
  const attempts: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    attempts.push(request.idempotency?.attempt)
    return 'done'
  })
  const client = await listen()
  t.match(await client.post('/x', 'k'), { status: 500, json: { message: 'template broken' } })
  await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'released', 'the key to be free')
  failing = false
  t.match(await client.post('/x', 'k'), { status: 200, text: 'done', replayed: false })
  t.same(attempts, [1, 2])
})

/** Sends POST /x, and returns a function that leaves before there is an answer. */
const CLIENTS: Record<string, { server: object, post: (t: Test, url: string, key: string) => Promise<() => void> }> = {
  'HTTP/1': {
    server: {},
    async post (t, url, key) {
      const connection = await Connection.open(t, url)
      connection.post(key)
      return () => { connection.cut() }
    }
  },
  'HTTP/2': {
    server: { http2: true },
    async post (t, url, key) {
      const session = connectHttp2(url).on('error', () => {})
      t.teardown(() => { session.destroy() })
      session.request({ ':method': 'POST', ':path': '/x', 'idempotency-key': key }).on('error', () => {}).end()
      return () => { session.destroy() }
    }
  }
}

/** Waits until the server sees that the client of this request has left. */
async function clientLeft ({ raw }: FastifyRequest): Promise<void> {
  if (raw.httpVersionMajor > 1) await once((raw as unknown as Http2ServerRequest).stream, 'close')
  else await once(raw.socket, 'close')
}

for (const [protocol, { server, post }] of Object.entries(CLIENTS)) {
  t.test('an onSend hook that fails on every answer, and a client that has left: ' +
    `the key is given back all the same, at once (${protocol})`, async (t) => {
    const { app, listen } = await build(t, { lease: 86_400_000, server }, (app) => {
      app.addHook('onSend', async () => { throw new Error('template broken') })
    })
    const began = gate()
    app.post('/x', { config: { idempotency: true } }, async (request) => {
      const left = clientLeft(request)
      began.open()
      await left
      return 'done'
    })
    const leave = await post(t, (await listen()).url, 'k')
    await began.opened
    leave()
    await until(
      async () => (await app.idempotency.find('k', 'global'))?.state === 'released',
      'the key to be free',
      30_000
    )
  })

  t.test("a client that leaves while the app's error handler makes the answer: " +
    `its retry gets that answer (${protocol})`, async (t) => {
    const { app, listen } = await build(t, { server })
    const began = gate()
    app.setErrorHandler(async (_error, request, reply) => {
      const left = clientLeft(request)
      began.open()
      await left
      return reply.code(402).send('no money')
    })
    app.post('/x', { config: { idempotency: true } }, async () => { throw new Error('no money') })
    const { url } = await listen()
    const leave = await post(t, url, 'k')
    await began.opened
    leave()
    await until(
      async () => (await app.idempotency.find('k', 'global'))?.state === 'settled',
      'the answer to be stored',
      30_000
    )
    t.match(await app.idempotency.find('k', 'global'), { statusCode: 402, response: { body: Buffer.from('no money') } })
  })
}

t.test('a handler that goes on after its handlerTimeout keeps its key even if every onSend hook fails', async (t) => {
  const { app, listen } = await build(t, { lease: LEASE, onConflict: 'reject' }, (app) => {
    app.addHook('onSend', async () => { throw new Error('template broken') })
  })
  lookAfterLeasesOften(app)
  const finish = gate()
  t.teardown(() => { finish.open() })
  let runs = 0
  app.post('/x', { config: { idempotency: true }, handlerTimeout: 1_000 }, async () => {
    runs++
    await finish.opened
  })
  const client = await listen()
  await until(() => client.post('/x', 'k').then(() => runs === 1), 'a request that began before its time was over')
  // Longer than the interval at which the plugin looks after leases.
  await until(() => client.post('/x', 'k').then(() => app.idempotency.stats().conflicts >= 20))
  t.match(await app.idempotency.find('k', 'global'), { state: 'running', attempt: 1 })
})

t.test('an error that the handler throws is kept if its status says that the request was dealt with', async (t) => {
  const { app, listen } = await build(t)
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) =>
    reply.code(error.statusCode ?? 500).send({ own: error.message })
  )
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => {
    throw Object.assign(new Error(`declined ${++runs}`), { statusCode: 402 })
  })
  const client = await listen()
  for (const replayed of [false, true]) {
    const answer = await client.post('/x', 'k')
    t.equal(answer.status, 402)
    t.same(answer.json, { own: 'declined 1' })
    t.equal(answer.replayed, replayed)
  }
})

t.test('an answer that cannot be serialized after the charge: attempt 2 says that it may have happened', async (t) => {
  const { app, listen } = await build(t)
  const attempts: unknown[] = []
  app.post('/x', {
    config: { idempotency: true },
    schema: { response: { 200: { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } } } }
  }, async (request) => {
    attempts.push(request.idempotency?.attempt)
    return attempts.length === 1 ? { wrong: true } : { id: 1 }
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).status, 500)
  t.equal((await client.post('/x', 'k')).text, '{"id":1}')
  t.same(attempts, [1, 2])
})

t.test('handlerTimeout answers 503, and the key is taken until the lease ends, as the handler goes on', async (t) => {
  const { app, listen, passTime } = await build(t, { lease: LEASE, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const finish = gate()
  const attempts: number[] = []
  let aborted = false
  app.post('/x', { config: { idempotency: true }, handlerTimeout: 1_000 }, async (request) => {
    attempts.push(request.idempotency?.attempt ?? 0)
    request.idempotency?.signal.addEventListener('abort', () => { aborted = true })
    if (attempts.length === 1) await finish.opened
    return 'done'
  })
  const client = await listen()
  await until(async () => {
    t.equal((await client.post('/x', 'k')).status, 503)
    return attempts.length === 1
  }, 'a request that began before its time was over')
  const soon = await client.post('/x', 'k')
  t.equal(soon.status, 409)
  t.equal(soon.json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
  await passTime(LEASE)
  await until(() => aborted, 'the handler that went on being told')
  await until(async () => (await client.post('/x', 'k')).text === 'done', 'the take-over')
  t.equal(attempts.length, 2)
  t.equal(attempts[1], (attempts[0] ?? NaN) + 1)
  finish.open()
  t.equal((await client.post('/x', 'k')).replayed, true)
})

t.test('a request with a body over a socket is not timed out by Fastify 5.12.8, which the docs say: ' +
  'its late answer is kept', async (t) => {
  const { app, listen } = await build(t)
  const finish = gate()
  let begun = 0
  let signals: unknown
  app.post('/body', { config: { idempotency: true }, handlerTimeout: 50 }, async (request) => {
    begun++
    await finish.opened
    signals = { fastify: request.signal.aborted, plugin: request.idempotency?.signal.aborted }
    return 'late'
  })
  app.post('/none', { handlerTimeout: 50 }, async () => { await finish.opened })
  const client = await listen()
  const late = client.post('/body', 'k', { amount: 1 })
  await until(() => begun === 1)
  // It began later and its time is over: then so is the time of the first.
  t.equal((await client.post('/none')).status, 503)
  finish.open()
  t.match(await late, { status: 200, text: 'late' })
  t.same(signals, { fastify: true, plugin: false })
  t.match(await client.post('/body', 'k', { amount: 1 }), { status: 200, text: 'late', replayed: true })
})

t.test('a handler that ends at a limit of its own releases its key, or keeps it with a 408', async (t) => {
  const { app, listen } = await build(t, { onConflict: 'reject' })
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    const { signal, attempt } = request.idempotency as NonNullable<typeof request.idempotency>
    if (attempt > 1) return `attempt ${attempt}`
    const limit = AbortSignal.any([signal, AbortSignal.timeout(1)])
    await new Promise((_resolve, reject) => {
      limit.addEventListener('abort', () => {
        const { status } = request.body as { status?: number }
        reject(
          status === undefined ? limit.reason as Error : Object.assign(new Error('too slow'), { statusCode: status })
        )
      })
    })
    return 'never'
  })
  const client = await listen()
  t.equal((await client.post('/x', 'free', {})).status, 500)
  t.equal((await client.post('/x', 'free', {})).text, 'attempt 2')
  t.equal((await client.post('/x', 'taken', { status: 408 })).status, 408)
  t.match(await client.post('/x', 'taken', { status: 408 }), {
    status: 409,
    json: { code: 'FST_IDEMPOTENCY_IN_PROGRESS' }
  })
})

t.test('a request that times out while it waits for another one does not run later, nor keep the key', async (t) => {
  const { app, listen } = await build(t, { lease: 4_000, onConflict: 'wait' })
  const finish = gate()
  const attempts: number[] = []
  app.post('/x', { config: { idempotency: true }, handlerTimeout: 2_000 }, async (request) => {
    attempts.push(request.idempotency?.attempt ?? 0)
    if (attempts.length === 1) await finish.opened
    return 'done'
  })
  const client = await listen()
  const answers = await Promise.all([client.post('/x', 'k'), client.post('/x', 'k')])
  t.same(answers.map(({ status }) => status), [503, 503])
  await until(async () => (await app.idempotency.find('k', 'global'))?.leaseLeft === 0, 'the end of the lease')
  t.same(attempts, [1], 'nobody runs for a client that has its answer')
  t.equal((await client.post('/x', 'k')).text, 'done')
  finish.open()
})

t.test('reply.hijack(): the duplicate is told that the answer could not be kept, and nothing runs again', async (t) => {
  const { app, listen } = await build(t)
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, (_request, reply) => {
    runs++
    reply.hijack()
    reply.raw.writeHead(201).end('raw')
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'raw')
  await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'settled')
  const second = await client.post('/x', 'k')
  t.equal(second.status, 409)
  t.equal(second.json.code, 'FST_IDEMPOTENCY_NOT_REPLAYABLE')
  t.equal(second.json.originalStatus, 201)
  t.equal(runs, 1)
})

t.test('an answer written to reply.raw counts as hijacked, as soon as the leases are looked after', async (t) => {
  const { app, listen } = await build(t)
  lookAfterLeasesOften(app)
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, (_request, reply) => {
    runs++
    reply.raw.writeHead(201).end('raw')
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'raw')
  await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'settled')
  t.match(await client.post('/x', 'k'), {
    status: 409,
    json: { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', originalStatus: 201 }
  })
  t.equal(runs, 1)
})

for (const way of ['reply.hijack()', 'reply.raw alone']) {
  t.test(`an answer by ${way} to a client that has left is noticed when the leases are looked after`, async (t) => {
    const { app, listen } = await build(t)
    lookAfterLeasesOften(app)
    const began = gate()
    app.post('/x', { config: { idempotency: true } }, (request, reply) => {
      if (way === 'reply.hijack()') reply.hijack()
      void clientLeft(request).then(() => { reply.raw.writeHead(201).end('raw') })
      began.open()
    })
    const connection = await Connection.open(t, (await listen()).url)
    connection.post('k')
    await began.opened
    connection.cut()
    await until(
      async () => (await app.idempotency.find('k', 'global'))?.state === 'settled',
      'the key to be settled',
      30_000
    )
    t.match(await app.idempotency.find('k', 'global'), { statusCode: 201, response: null })
  })
}

t.test('in each context of the app hijacked answers and trailers are noticed', async (t) => {
  const { app, listen } = await build(t)
  for (const name of ['a', 'b']) {
    app.register(async (child) => {
      child.decorateReply(`of${name}`, 1)
      child.post(`/${name}/raw`, { config: { idempotency: true } }, (_request, reply) => {
        reply.hijack()
        reply.raw.end('raw')
      })
      child.post(`/${name}/trailer`, { config: { idempotency: true } }, async (_request, reply) =>
        reply.trailer('x-checksum', async () => 'abc').send('done')
      )
    })
  }
  const client = await listen()
  for (const path of ['/a/raw', '/b/raw', '/a/trailer', '/b/trailer']) {
    const key = path.replaceAll('/', '-')
    t.equal((await client.post(path, key)).status, 200)
    await until(async () => (await app.idempotency.find(key, 'global'))?.state === 'settled', path)
    t.equal((await client.post(path, key)).json.code, 'FST_IDEMPOTENCY_NOT_REPLAYABLE', path)
  }
})

t.test('trailers are not kept, so the duplicate is told that the answer could not be', async (t) => {
  const { app, listen } = await build(t)
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) => {
    reply.trailer('x-checksum', async () => 'abc')
    return 'done'
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).text, 'done')
  t.equal((await client.post('/x', 'k')).json.code, 'FST_IDEMPOTENCY_NOT_REPLAYABLE')
})

t.test('an unprotected route in an app with the plugin answers without a turn of the event loop more', async (t) => {
  const { app } = await build(t, { store: new MemoryStore() })
  const order: string[] = []
  app.get('/x', (_request, reply) => {
    reply.send('done')
    order.push(reply.sent ? 'sent at once' : 'sent later')
  })
  await app.inject('/x')
  t.same(order, ['sent at once'])
})
