import { Readable } from 'node:stream'
import t from 'tap'
import type { Test } from 'tap'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { build, MemoryStore, SOURCES } from './helper.ts'
import type { Answer, Client } from './helper.ts'

/** What a client can see of an answer, except what is created again each time. */
function visible ({ status, headers, body }: Answer): object {
  const kept = [...headers].filter(([name]) => name !== 'date' && name !== 'idempotent-replayed')
  return { status, headers: Object.fromEntries(kept), body: body.toString('base64') }
}

async function sameTwice (t: Test, client: Client, path: string): Promise<Answer> {
  const first = await client.post(path, 'k')
  const second = await client.post(path, 'k')
  t.equal(first.replayed, false)
  t.equal(second.replayed, true, 'the second answer is a replay')
  t.same(visible(second), visible(first))
  return first
}

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, i) => i))

/** By name: the answer of a route, and what its body must be. */
const PAYLOADS: Record<
  string,
  { send: (reply: FastifyReply) => unknown, body: Buffer | string, status?: number, type?: string | null }
> = {
  'JSON through a response schema': {
    send: () => ({ id: 7, secret: 'not for clients', ok: true }),
    body: '{"id":7,"ok":true}',
    type: 'application/json; charset=utf-8'
  },
  text: { send: () => 'plain wörds', body: 'plain wörds', type: 'text/plain; charset=utf-8' },
  'an empty text': { send: reply => reply.send(''), body: '', type: 'text/plain; charset=utf-8' },
  'a Buffer': { send: () => EVERY_BYTE, body: EVERY_BYTE, type: 'application/octet-stream' },
  'a Buffer with a type of its own': {
    send: reply => reply.type('image/png').send(EVERY_BYTE),
    body: EVERY_BYTE,
    type: 'image/png'
  },
  'a typed array': { send: () => new Uint16Array([1, 2, 0xffff]), body: Buffer.from([1, 0, 2, 0, 0xff, 0xff]) },
  'a Node.js stream': {
    send: reply => reply.type('text/csv').send(Readable.from([Buffer.from('a,b\n'), EVERY_BYTE])),
    body: Buffer.concat([Buffer.from('a,b\n'), EVERY_BYTE]),
    type: 'text/csv'
  },
  'a Node.js stream without a type': { send: () => Readable.from(['one', 'two']), body: 'onetwo', type: null },
  'an empty Node.js stream': { send: () => Readable.from([]), body: '', type: null },
  'a web stream': { send: () => new Blob(['first ', 'second']).stream(), body: 'first second', type: null },
  'a web Response': {
    send: () =>
      new Response(EVERY_BYTE, { status: 202, headers: { 'content-type': 'application/x-own', 'x-own': 'yes' } }),
    body: EVERY_BYTE,
    status: 202,
    type: 'application/x-own'
  },
  'a web Response without a body': {
    send: () => new Response(null, { status: 204, headers: { 'x-own': 'yes' } }),
    body: '',
    status: 204,
    type: null
  },
  'an empty 204': { send: reply => reply.code(204).send(), body: '', status: 204, type: null },
  'an empty 200': { send: reply => reply.send(), body: '', type: null },
  'the JSON null': { send: reply => reply.send(null), body: 'null', type: 'application/json; charset=utf-8' },
  'a redirect': { send: reply => reply.redirect('/elsewhere?x=1', 303), body: '', status: 303, type: null },
  'a JSON text that is serialized already': {
    send: reply => reply.type('application/json').send('{"a":  1}'),
    body: '{"a":  1}',
    type: 'application/json; charset=utf-8'
  }
}

for (const [kind, { send, body, status = 200, type }] of Object.entries(PAYLOADS)) {
  for (const [stored, options] of Object.entries(SOURCES)) {
    t.test(`a duplicate gets ${kind} exactly as the first request did (${stored})`, async (t) => {
      const { app, listen } = await build(t, options())
      let runs = 0
      app.post('/x', {
        config: { idempotency: true },
        schema: kind.startsWith('JSON through')
          ? { response: { 200: { type: 'object', properties: { id: { type: 'integer' }, ok: { type: 'boolean' } } } } }
          : {}
      }, async (_request, reply) => {
        runs++
        return send(reply)
      })
      const client = await listen()
      // fetch follows redirects, which is not what this test is about.
      const first = status === 303
        ? await sameRedirectTwice(t, client)
        : await sameTwice(t, client, '/x')
      t.equal(first.status, status)
      t.same(first.body, Buffer.from(body))
      if (type !== undefined) t.equal(first.headers.get('content-type'), type)
      t.equal(runs, 1)
    })
  }
}

async function sameRedirectTwice (t: Test, client: Client): Promise<Answer> {
  const answers: Answer[] = []
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`${client.url}/x`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'idempotency-key': 'k' }
    })
    const body = Buffer.from(await response.arrayBuffer())
    answers.push({
      status: response.status,
      headers: response.headers,
      body,
      text: body.toString(),
      json: {},
      replayed: response.headers.has('idempotent-replayed')
    })
  }
  const [first, second] = answers as [Answer, Answer]
  t.equal(second.replayed, true)
  t.equal(second.headers.get('location'), '/elsewhere?x=1')
  t.same(visible(second), visible(first))
  return first
}

t.test('a property that the response schema removed is neither stored nor replayed', async (t) => {
  const { app, listen } = await build(t)
  app.post('/x', {
    config: { idempotency: true },
    schema: { response: { 200: { type: 'object', properties: { id: { type: 'integer' } } } } }
  }, async () => ({ id: 1, secret: 'hidden' }))
  const client = await listen()
  await client.post('/x', 'k')
  t.equal((await client.post('/x', 'k')).text, '{"id":1}')
  const found = await app.idempotency.find('k', 'global')
  t.equal(found?.response?.body.toString(), '{"id":1}')
})

t.test('headers that the handler set are replayed; cookies, dates and hop-by-hop ones never are', async (t) => {
  const { app, listen } = await build(t, { excludeHeaders: ['X-Excluded'] })
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) => {
    reply.headers({
      'x-kept': 'yes',
      'x-list': ['a', 'b'],
      'x-number': 42,
      'x-excluded': 'no',
      'proxy-authenticate': 'no',
      'keep-alive': 'timeout=5',
      connection: 'keep-alive, X-Named',
      'x-named': 'no',
      'set-cookie': 'session=secret'
    })
    reply.raw.setHeader('x-raw', 'raw')
    return 'done'
  })
  const client = await listen()
  const first = await client.post('/x', 'k')
  t.equal(first.headers.get('set-cookie'), 'session=secret')
  t.equal(first.headers.get('x-named'), 'no')
  const second = await client.post('/x', 'k')
  t.equal(second.replayed, true)
  for (const name of ['x-kept', 'x-list', 'x-number', 'x-raw']) {
    t.equal(second.headers.get(name), first.headers.get(name), name)
  }
  for (const name of ['x-excluded', 'proxy-authenticate', 'x-named', 'set-cookie']) {
    t.equal(second.headers.get(name), null, name)
  }
  const found = await app.idempotency.find('k', 'global')
  t.same(Object.keys(found?.response?.headers ?? {}).sort(), ['content-type', 'x-kept', 'x-list', 'x-number', 'x-raw'])
})

t.test('what other plugins set on each response before the claim is made anew on a replay', async (t) => {
  let requests = 0
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('x-request-id', `r${++requests}`).header('vary', 'Origin')
    })
  })
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
    reply.header('vary', 'Origin, Accept').header('x-own', 1).send('done')
  )
  const client = await listen()
  t.equal((await client.post('/x', 'k')).headers.get('x-request-id'), 'r1')
  const second = await client.post('/x', 'k')
  t.equal(second.headers.get('x-request-id'), 'r2')
  t.equal(second.headers.get('vary'), 'Origin, Accept', 'what the handler changed is the outcome’s')
  t.equal(second.headers.get('x-own'), '1')
})

t.test('a content type that a hook set before the claim goes with the body', async (t) => {
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRequest', async (_request, reply) => { reply.type('application/x-own') })
  })
  app.post('/x', { config: { idempotency: true } }, async () => EVERY_BYTE)
  t.equal((await sameTwice(t, await listen(), '/x')).headers.get('content-type'), 'application/x-own')
})

t.test('a header that the handler removed stays away from the replay', async (t) => {
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-frame-options', 'DENY') })
  })
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
    reply.removeHeader('x-frame-options').send('framed')
  )
  const client = await listen()
  await sameTwice(t, client, '/x')
})

for (const order of ['before', 'after']) {
  t.test(`a hook that transforms payloads, registered ${order} the plugin, transforms a replay once`, async (t) => {
    const transform = (app: FastifyInstance): void => {
      app.addHook('onSend', async (_request, _reply, payload) => `<${String(payload)}>`)
    }
    const { app, listen } = await build(t, {}, app => { if (order === 'before') transform(app) })
    if (order === 'after') transform(app)
    app.post('/x', { config: { idempotency: true } }, async () => 'done')
    const client = await listen()
    t.equal((await sameTwice(t, client, '/x')).text, '<done>')
  })
}

/** By name: what a handler answers, and what hooks get of it. */
const FORMS: Record<string, { answer: (reply: FastifyReply) => unknown, form: string }> = {
  text: { answer: () => 'plain', form: 'text' },
  JSON: { answer: () => ({ plain: true }), form: 'text' },
  'an empty text': { answer: reply => reply.send(''), form: 'text' },
  'a Buffer': { answer: reply => reply.type('text/plain').send(Buffer.from('plain')), form: 'bytes' },
  nothing: { answer: reply => reply.code(204).send(), form: 'nothing' }
}

function formOf (payload: unknown): string {
  if (payload == null) return 'nothing'
  return typeof payload === 'string' ? 'text' : 'bytes'
}

for (const [stored, options] of Object.entries(SOURCES)) {
  for (const order of ['before', 'after']) {
    for (const [kind, { answer, form }] of Object.entries(FORMS)) {
      t.test(`a hook ${order} the plugin gets ${kind} in the same form on a replay (${stored})`, async (t) => {
        const seen: string[] = []
        const look = (app: FastifyInstance): void => {
          app.addHook('onSend', async (_request, _reply, payload) => {
            seen.push(formOf(payload))
            return typeof payload === 'string' ? payload.replace('plain', 'changed') : payload
          })
        }
        const { app, listen } = await build(t, options(), (app) => {
          if (order === 'before') look(app)
        })
        if (order === 'after') look(app)
        app.post('/x', { config: { idempotency: true } }, async (_request, reply) => answer(reply))
        await sameTwice(t, await listen(), '/x')
        t.same(seen, [form, form])
      })
    }
  }
}

t.test('text that a serializer of the reply’s own has made is not serialized again', async (t) => {
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.type('text/csv').serializer((rows: string[][]) => rows.map(row => row.join()).join('\n'))
    })
  })
  app.post('/x', { config: { idempotency: true } }, async () => [['a', 'b'], ['c', 'd']])
  t.equal((await sameTwice(t, await listen(), '/x')).text, 'a,b\nc,d')
})

t.test('a hook that changes a replay’s own headers or bytes in place changes nothing of what is kept', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.addHook('onSend', async (request, reply, payload) => {
    if (request.idempotency?.replayed !== true) return payload
    const links = reply.getHeader('link') as string[]
    links.push('<c>')
    return (payload as Buffer).fill('!')
  })
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
    reply.header('link', ['<a>', '<b>']).send(Buffer.from('done'))
  )
  const client = await listen()
  await client.post('/x', 'k')
  for (let i = 0; i < 2; i++) {
    const { text, headers } = await client.post('/x', 'k')
    t.equal(headers.get('link'), '<a>, <b>, <c>')
    t.equal(text, '!!!!')
  }
  const found = await app.idempotency.find('k', 'global')
  t.match(found?.response, { headers: { link: ['<a>', '<b>'] }, body: Buffer.from('done') })
  ;(found?.response?.headers.link as string[]).push('<d>')
  t.same((await app.idempotency.find('k', 'global'))?.response?.headers.link, ['<a>', '<b>'])
})

t.test('a stream that is larger than maxBodySize reaches the first client whole, and is not kept', async (t) => {
  const { app, listen } = await build(t, { maxBodySize: 1000 })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) => {
    runs++
    return reply
      .type('text/plain')
      .send(Readable.from(Array.from({ length: 100 }, (_, i) => `line ${i} ${'x'.repeat(50)}\n`)))
  })
  const client = await listen()
  const first = await client.post('/x', 'k')
  t.equal(first.status, 200)
  t.equal(first.text.split('\n').length, 101)
  t.match(first.text, /^line 0 x+\nline 1 [\s\S]*line 99 x+\n$/)
  const second = await client.post('/x', 'k')
  t.equal(second.status, 409)
  t.equal(second.json.code, 'FST_IDEMPOTENCY_NOT_REPLAYABLE')
  t.equal(second.json.originalStatus, 200)
  t.equal(runs, 1)
})

for (const [kind, send] of Object.entries({ JSON: () => ({ a: 1 }), 'a stream': () => Readable.from(['a', 'b']) })) {
  t.test(`${kind} is stored before its first byte leaves`, async (t) => {
    const { app, listen } = await build(t)
    let storedAtFirstByte: number | undefined
    app.post('/x', { config: { idempotency: true } }, async (_request, reply) => {
      const { write, end } = reply.raw
      const look = (): void => { storedAtFirstByte ??= app.idempotency.stats().completed }
      reply.raw.write = function (...args: unknown[]) { look(); return write.apply(this, args as never) }
      reply.raw.end = function (...args: unknown[]) { look(); return end.apply(this, args as never) }
      return send()
    })
    const client = await listen()
    t.equal((await client.post('/x', 'k')).status, 200)
    t.equal(storedAtFirstByte, 1, 'Redis had acknowledged it')
  })
}

t.test('a stream that fails before its end is a 500, and the next retry runs at once with attempt 2', async (t) => {
  const { app, listen } = await build(t)
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    if (request.idempotency?.attempt === 2) return 'second'
    return Readable.from((async function * () {
      yield 'half'
      throw new Error('disk on fire')
    })())
  })
  const client = await listen()
  t.equal((await client.post('/x', 'k')).status, 500)
  t.equal((await client.post('/x', 'k')).text, 'second')
})

t.test('a buffer that the handler uses again afterwards does not change what is replayed', async (t) => {
  const shared = Buffer.from('first answer')
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.post('/x', { config: { idempotency: true } }, async () => shared)
  const client = await listen()
  await client.post('/x', 'k')
  shared.fill('!')
  t.equal((await client.post('/x', 'k')).text, 'first answer')
})

t.test('request.idempotency tells a replay from a run in the hooks that both pass', async (t) => {
  const seen: unknown[] = []
  const { app, listen } = await build(t)
  app.addHook('onSend', async (request) => {
    const { key, scope, attempt, replayed, signal } = request.idempotency ?? {}
    seen.push({ key, scope, attempt, replayed, aborted: signal?.aborted })
    request.idempotency?.release()
  })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', '"k"')
  await client.post('/x', 'k')
  t.same(seen, [
    { key: 'k', scope: 'global', attempt: 1, replayed: false, aborted: false },
    { key: 'k', scope: 'global', attempt: 1, replayed: true, aborted: false }
  ])
})
