import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { Test } from 'tap'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { request as undiciRequest } from 'undici'
import { build, MemoryStore } from './helper.ts'

/** An answer with its raw bytes, or the error that the client ended with. */
interface Message {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

type Send = (url: string, key: string) => Promise<Message>

/** Real clients, each with a connection of its own for each request. */
const CLIENTS = {
  'the http client of Node.js': async (url: string, key: string) => {
    const request = httpRequest(url, { method: 'POST', agent: false, headers: { 'idempotency-key': key } }).end()
    const [response] = await once(request, 'response') as [IncomingMessage]
    const body = await buffer(response)
    return { status: response.statusCode ?? 0, headers: response.headers, body: body.toString('latin1') }
  },
  undici: async (url: string, key: string) => {
    const { statusCode, headers, body } = await undiciRequest(url, {
      method: 'POST',
      headers: { 'idempotency-key': key }
    })
    return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()).toString('latin1') }
  },
  fetch: async (url: string, key: string) => {
    const response = await fetch(url, { method: 'POST', headers: { 'idempotency-key': key } })
    const body = Buffer.from(await response.arrayBuffer())
    return { status: response.status, headers: Object.fromEntries(response.headers), body: body.toString('latin1') }
  }
} satisfies Record<string, Send>

/** The same over HTTP/2, where the end of the body is the end of the stream. */
async function sendHttp2 (url: string, key: string): Promise<Message> {
  const { origin, pathname } = new URL(url)
  const session = connectHttp2(origin)
  try {
    const stream = session.request({ ':method': 'POST', ':path': pathname, 'idempotency-key': key })
    stream.end()
    const unanswered = once(stream, 'close').then(() => {
      throw new Error(`closed without an answer, code ${stream.rstCode}`)
    })
    unanswered.catch(() => {})
    const [{ ':status': status, ...headers }] =
      await Promise.race([once(stream, 'response'), unanswered]) as [IncomingHttpHeaders & { ':status': number }]
    const body = await buffer(stream)
    return { status, headers, body: body.toString('latin1') }
  } finally {
    session.destroy()
  }
}

/** What a client got, or how it failed. */
async function seen (sent: Promise<Message>): Promise<Partial<Message> & { failed?: string }> {
  try {
    return await sent
  } catch (error) {
    const { code, cause } = error as Error & { code?: string }
    return { failed: code ?? String((cause as { code?: string } | undefined)?.code ?? error) }
  }
}

/** A provider that answers as many do: in chunks, and with any header about its connection. */
async function startProvider (t: Test): Promise<string> {
  const server = createServer((request, response) => {
    request.resume()
    if (request.url === '/gzip') {
      response
        .writeHead(201, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        .end(gzipSync('{"charge":1}'))
      return
    }
    response.writeHead(201, {
      'content-type': 'application/json',
      'transfer-encoding': 'chunked',
      'proxy-authenticate': 'Basic',
      'x-charge': 'ch_1'
    })
    response.write('{"charge"')
    response.end(':1}')
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const CHARGE = '{"charge":1}'
const pieces = (): Readable => Readable.from(['{"charge"', ':1}'])

/** Handlers that pass on what other services answered. */
const HANDLERS: Record<string, (reply: FastifyReply, provider: string) => unknown> = {
  'the Response of a fetch()': (_reply, provider) => fetch(provider, { method: 'POST', body: '{}' }),
  'the Response of a fetch() that has decoded it': (_reply, provider) => fetch(`${provider}/gzip`, { method: 'POST' }),
  'a Response of its own with transfer-encoding': () =>
    new Response(CHARGE, { headers: { 'transfer-encoding': 'chunked', 'x-charge': 'ch_1' } }),
  'a stream with transfer-encoding': reply =>
    reply.header('transfer-encoding', 'chunked').type('application/json').send(pieces()),
  'a web stream with transfer-encoding': reply =>
    reply.header('transfer-encoding', 'chunked').send(new Blob([CHARGE]).stream()),
  'a stream with a trailer field': reply =>
    reply.headers({ trailer: 'x-checksum', 'transfer-encoding': 'chunked' }).send(pieces()),
  'a stream with the length of another body': reply =>
    reply.header('content-length', 7).type('application/json').send(pieces()),
  'text with the length of another body': reply => reply.header('content-length', 7).send(CHARGE),
  'a stream with fields of a connection': reply =>
    reply
      .headers({
        connection: 'x-hop',
        'x-hop': '1',
        'keep-alive': 'timeout=99',
        te: 'trailers',
        upgrade: 'h2c',
        'proxy-authenticate': 'Basic'
      })
      .send(pieces()),
  'text with fields of a connection': reply =>
    reply
      .headers({ connection: 'x-hop', 'x-hop': '1', te: 'trailers', upgrade: 'h2c', 'proxy-connection': 'keep-alive' })
      .send(CHARGE),
  'an empty Response with transfer-encoding': () =>
    new Response(null, { status: 204, headers: { 'transfer-encoding': 'chunked' } })
}

/** Fastify itself sends this in a form that makes clients fail, without the plugin too. */
const BROKEN_ALONE = 'a stream with the length of another body'
/** What says that it is compressed and is not. Clients that decode fail. */
const NOT_COMPRESSED = 'the Response of a fetch() that has decoded it'

/** Headers that belong to one message or one connection. */
const OF_THE_MESSAGE = ['content-length', 'transfer-encoding', 'trailer', 'date', 'connection', 'keep-alive']
const OF_THE_CONNECTION = ['te', 'upgrade', 'x-hop', 'proxy-authenticate', 'proxy-connection', 'idempotent-replayed']

function without (headers: IncomingHttpHeaders, names: string[]): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)))
}

function routes (app: FastifyInstance, provider: string): void {
  for (const [index, handler] of Object.values(HANDLERS).entries()) {
    app.post(`/protected/${index}`, { config: { idempotency: true } }, async (_request, reply) =>
      handler(reply, provider)
    )
    app.post(`/unprotected/${index}`, async (_request, reply) => handler(reply, provider))
  }
}

for (const [index, kind] of Object.keys(HANDLERS).entries()) {
  for (const [client, send] of Object.entries(CLIENTS)) {
    t.test(`${kind} reaches ${client} as without the plugin, and is replayed`, async (t) => {
      const provider = await startProvider(t)
      const { app, listen } = await build(t, { store: new MemoryStore() })
      routes(app, provider)
      const { url } = await listen()
      const first = await seen(send(`${url}/protected/${index}`, 'k'))
      const replay = await seen(send(`${url}/protected/${index}`, 'k'))
      const { headers, ...rest } = first
      t.notOk(
        headers?.['content-length'] !== undefined && headers['transfer-encoding'] !== undefined,
        'one says how long it is'
      )
      t.equal(replay.headers?.['idempotent-replayed'], headers === undefined ? undefined : 'true')
      t.same(
        { ...replay, headers: without(replay.headers ?? {}, [...OF_THE_MESSAGE, ...OF_THE_CONNECTION]) },
        { ...rest, headers: without(headers ?? {}, [...OF_THE_MESSAGE, ...OF_THE_CONNECTION]) })
      t.equal(app.idempotency.stats().claimed, 1)
      if (kind === BROKEN_ALONE) {
        t.equal(first.body, CHARGE)
        return
      }
      if (kind === NOT_COMPRESSED && client === 'fetch') {
        // Without the plugin the body's end comes in a chunk of its own. If it comes before the decoder has failed, the
        // fetch() of Node.js 20.20.2 (undici 6.24.1) waits for the body for ever.
        t.equal(first.failed, 'Z_DATA_ERROR')
        return
      }
      const alone = await seen(send(`${url}/unprotected/${index}`, 'k'))
      t.same(
        { ...rest, headers: without(headers ?? {}, OF_THE_MESSAGE) },
        { ...alone, headers: without(alone.headers ?? {}, OF_THE_MESSAGE) })
    })
  }

  t.test(`${kind} is an answer over HTTP/2 too, and is replayed`, async (t) => {
    const provider = await startProvider(t)
    const { app, listen } = await build(t, { store: new MemoryStore(), server: { http2: true } as object })
    routes(app, provider)
    const { url } = await listen()
    const first = await sendHttp2(`${url}/protected/${index}`, 'k')
    const replay = await sendHttp2(`${url}/protected/${index}`, 'k')
    t.equal(first.body, kind.startsWith('an empty') ? '' : CHARGE)
    t.equal(replay.headers['idempotent-replayed'], 'true')
    const { headers, ...rest } = first
    t.match(replay, rest)
    t.same(
      without(replay.headers, [...OF_THE_MESSAGE, ...OF_THE_CONNECTION]),
      without(headers, [...OF_THE_MESSAGE, ...OF_THE_CONNECTION])
    )
  })
}

t.test('a hook that makes a stream of an answer with transfer-encoding, as compression does: ' +
  'it is sent in chunks, first and replayed', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.addHook('onSend', async (_request, _reply, payload) =>
    payload instanceof Uint8Array ? Readable.from([payload]) : payload
  )
  app.post('/x', { config: { idempotency: true } }, async (_request, reply) =>
    reply.header('transfer-encoding', 'chunked').send(pieces())
  )
  const { url } = await listen()
  for (const replayed of [undefined, 'true']) {
    const { headers, body } = await seen(CLIENTS.undici(`${url}/x`, 'k'))
    t.equal(body, CHARGE)
    t.match(headers, { 'transfer-encoding': 'chunked', connection: 'keep-alive', 'idempotent-replayed': replayed })
  }
})
