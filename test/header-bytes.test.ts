import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { build, SOURCES } from './helper.ts'

/** What was sent on a connection: the lines of the head in Latin-1, one character for each byte, and the body. */
interface Sent {
  status: string
  lines: string[]
  body: string
}

/** Sends a POST on a connection of its own, and returns the raw answer. */
async function post (url: string, path: string, key: string): Promise<Sent> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: x\r\nidempotency-key: ${key}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`
  )
  const received = (await buffer(socket)).toString('latin1')
  const end = received.indexOf('\r\n\r\n')
  const [status = '', ...lines] = received.slice(0, end).split('\r\n')
  return {
    status,
    lines: lines.filter(line => !/^(date|idempotent-replayed):/i.test(line)).sort(),
    body: received.slice(end + 4)
  }
}

const NAME = 'attachment; filename="Mü.pdf"'

/** How Node.js writes a header: as UTF-8 together with the text of a body, otherwise as Latin-1. */
const AS_UTF8 = `content-disposition: ${Buffer.from(NAME).toString('latin1')}`
const AS_LATIN1 = `content-disposition: ${NAME}`

const BODIES: Record<string, { send: (reply: FastifyReply) => unknown, line: string }> = {
  text: { send: reply => reply.send('wörds ☃'), line: AS_UTF8 },
  JSON: { send: () => ({ name: 'Mü' }), line: AS_UTF8 },
  'text with half a surrogate pair': { send: reply => reply.send('\ud800'), line: AS_UTF8 },
  'a Buffer of text': { send: reply => reply.type('text/plain').send(Buffer.from('wörds ☃')), line: AS_LATIN1 },
  'a Buffer of other bytes': { send: () => Buffer.from([0xff, 0, 0xfe]), line: AS_LATIN1 },
  'a stream of text': {
    send: reply => reply.type('text/csv').send(Readable.from(['a;ü\n', 'b;☃\n'])),
    line: AS_LATIN1
  },
  'a Response': { send: () => new Response('wörds'), line: AS_LATIN1 },
  'an empty text': { send: reply => reply.send(''), line: AS_LATIN1 },
  nothing: { send: reply => reply.code(204).send(), line: AS_LATIN1 }
}

/** What later hooks may do to a body, which changes how Node.js writes the headers. */
const HOOKS: Record<string, (payload: unknown) => unknown> = {
  'no hook': payload => payload,
  'a hook that makes a stream of it': payload =>
    typeof payload === 'string' || payload instanceof Uint8Array ? Readable.from([payload]) : payload,
  'a hook that makes text of it': payload => payload instanceof Uint8Array ? payload.toString() : payload
}

function routes (app: FastifyInstance, send: (reply: FastifyReply) => unknown, name = NAME): void {
  const handler = async (_request: unknown, reply: FastifyReply): Promise<unknown> =>
    send(reply.header('content-disposition', name))
  app.post('/protected', { config: { idempotency: true } }, handler)
  app.post('/unprotected', handler)
}

for (const [stored, store] of Object.entries(SOURCES)) {
  for (const [kind, { send, line }] of Object.entries(BODIES)) {
    for (const [hook, transform] of Object.entries(HOOKS)) {
      t.test(`a replay has the bytes of the first answer, also in headers: ${kind}, ${hook} (${stored})`, async (t) => {
        const { app, listen } = await build(t, store())
        app.addHook('onSend', async (_request, _reply, payload) => payload === '' ? payload : transform(payload))
        routes(app, send)
        const { url } = await listen()
        const first = await post(url, '/protected', 'k')
        t.same(await post(url, '/protected', 'k'), first)
        t.equal(app.idempotency.stats().replayed, 1)
        if (hook !== 'no hook') return
        t.ok(first.lines.includes(line))
        t.ok((await post(url, '/unprotected', 'k')).lines.includes(line), 'as without the plugin')
      })
    }
  }
}

t.test('what a hook sets on every answer has the same bytes on a replay, too', async (t) => {
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-region', 'Zürich') })
  })
  app.post('/protected', { config: { idempotency: true } }, async () => 'done')
  const { url } = await listen()
  const first = await post(url, '/protected', 'k')
  t.ok(first.lines.includes(`x-region: ${Buffer.from('Zürich').toString('latin1')}`))
  t.same(await post(url, '/protected', 'k'), first)
})

for (const [stored, store] of Object.entries(SOURCES)) {
  t.test(`what a hook after the plugin sets has the bytes of the first answer on a replay (${stored})`, async (t) => {
    const { app, listen } = await build(t, store())
    app.addHook('onSend', async (_request, reply) => { reply.header('content-disposition', NAME) })
    app.post('/protected', { config: { idempotency: true } }, async () => 'done')
    const { url } = await listen()
    const first = await post(url, '/protected', 'k')
    t.ok(first.lines.includes(AS_UTF8))
    t.same(await post(url, '/protected', 'k'), first)
  })

  for (const sent of ['text', 'a Buffer'] as const) {
    for (const left of ['text', 'bytes']) {
      t.test(`where sanitize makes ${left} of ${sent}, ` +
        `the headers of a replay have the bytes of the first answer (${stored})`, async (t) => {
        const sanitize = ({ body }: { body: Buffer }): object => ({ body: left === 'text' ? body.toString() : body })
        const { app, listen } = await build(t, { ...store(), sanitize })
        const { send, line } = sent === 'text' ? BODIES.text! : BODIES['a Buffer of text']!
        routes(app, send)
        const { url } = await listen()
        const first = await post(url, '/protected', 'k')
        t.ok(first.lines.includes(line))
        t.same(await post(url, '/protected', 'k'), first)
      })
    }
  }
}

t.test('what sanitize leaves is replayed as it is, whatever it makes of the body', async (t) => {
  const bytes = Buffer.from([0xff, 0, 0xfe])
  const { app, listen } = await build(t, { sanitize: () => ({ body: bytes }) })
  routes(app, reply => reply.send('text'))
  const { url } = await listen()
  await post(url, '/protected', 'k')
  t.equal((await post(url, '/protected', 'k')).body, bytes.toString('latin1'))
  const found = await app.idempotency.find('k', 'global')
  t.same(found?.response?.headers, { 'content-type': 'text/plain; charset=utf-8', 'content-disposition': NAME })
})

for (const [kind, { send }] of Object.entries(BODIES)) {
  t.test(`a header that cannot be sent is a failure as without the plugin, and not a run more: ${kind}`, async (t) => {
    const { app, listen } = await build(t)
    routes(app, send, 'attachment; filename="☃.pdf"')
    const { url } = await listen()
    const alone = await post(url, '/unprotected', 'k')
    t.match(alone.status, ' 500 ')
    const first = await post(url, '/protected', 'k')
    t.match(first.status, ' 500 ')
    // The reason phrase is left over from the answer that could not be sent.
    t.same({ ...first, status: '' }, { ...alone, status: '' })
    const retry = await post(url, '/protected', 'k')
    t.match(retry.status, ' 500 ')
    t.match(retry.body, kind === 'nothing' ? '' : 'Invalid character in header content')
    t.notOk(retry.lines.some(line => line.startsWith('content-disposition')))
    t.equal(app.idempotency.stats().claimed, 1)
  })
}

async function postHttp2 (url: string, path: string, key: string): Promise<object> {
  const session = connectHttp2(url)
  try {
    const stream = session.request({ ':method': 'POST', ':path': path, 'idempotency-key': key }).end()
    const [{ date, 'idempotent-replayed': replayed, ...headers }] = await once(stream, 'response') as [
      Record<string, string>
    ]
    return { headers: { ...headers }, body: (await buffer(stream)).toString('latin1') }
  } finally {
    session.destroy()
  }
}

for (const [kind, { send }] of Object.entries(BODIES)) {
  t.test(`a replay has the headers of the first answer over HTTP/2: ${kind}`, async (t) => {
    const { app, listen } = await build(t, { server: { http2: true } as object })
    routes(app, send)
    const { url } = await listen()
    const first = await postHttp2(url, '/protected', 'k')
    t.match(first, { headers: { 'content-disposition': NAME } })
    t.same(await postHttp2(url, '/protected', 'k'), first)
    t.equal(app.idempotency.stats().replayed, 1)
  })
}

t.test('a header that HTTP/1 cannot send is over HTTP/2 as without the plugin, first and replayed', async (t) => {
  const { app, listen } = await build(t, { server: { http2: true } as object })
  routes(app, reply => reply.send('text'), 'attachment; filename="☃.pdf"')
  const { url } = await listen()
  const seen = async (path: string): Promise<unknown> =>
    postHttp2(url, path, 'k').catch((error: unknown) => (error as Error).message)
  const alone = await seen('/unprotected')
  t.same(await seen('/protected'), alone)
  t.same(await seen('/protected'), alone)
  t.equal(app.idempotency.stats().claimed, 1)
})
