import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { until } from '../helper.ts'
import { inEachPosition, replayed } from './helper.ts'
import type { Arrangement } from './helper.ts'
import type { Upstream } from './upstream.ts'

/**
 * What a gateway does with bodies, so that they can be compared and are forwarded byte for byte: they are read as
 * bytes, whatever their type, up to the `bodyLimit`.
 */
export function readBodiesAsBytes (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  // If there is no body to parse, Node.js counts the body as unread, and the request as aborted once its client has
  // left: then reply.from throws the upstream's answer away.
  app.addHook('preHandler', async ({ raw }) => { raw.resume() })
}

/** The bytes are passed to `reply.from` together with their type: otherwise it would serialize them as JSON. */
export function bytesOf ({ body, headers }: FastifyRequest): { body?: unknown, contentType?: string } {
  return body === undefined ? {} : { body, contentType: headers['content-type'] ?? 'application/octet-stream' }
}

/** The upstream is asked for plain bytes: @fastify/compress then applies each client's own encoding. */
export function withoutEncoding<H extends object> (_request: unknown, headers: H): H {
  return { ...headers, 'accept-encoding': 'identity' }
}

/** The rules for a gateway that protects what it forwards, whichever plugin forwards it. Its routes are under /api. */
export function testGateway (upstream: Upstream, arrangement: Arrangement): void {
  inEachPosition('a forwarded request is sent on once, byte for byte and with its key, ' +
    'and its answer is replayed', arrangement, async (t, { client }) => {
    const key = randomUUID()
    const headers = { 'content-type': 'application/json; charset=utf-8' }
    const body = '{ "amount" : 1.0 }'
    const [first, second] = await replayed(t, client, '/api/pay?x=1', key, { body, headers, anew: ['set-cookie'] })
    t.equal(first.status, 201)
    t.equal(second.text, '{"call":  1}')
    t.equal(second.headers.get('x-upstream'), 'yes')
    t.same([first.headers.getSetCookie(), second.headers.getSetCookie()], [['upstream=1'], []])
    t.equal(upstream.received(key).length, 1)
    t.match(upstream.received(key)[0], { method: 'POST', url: '/pay?x=1', headers, body: Buffer.from(body) })
  })

  inEachPosition('a forwarded body that differs in a byte is another request', arrangement, async (t, { client }) => {
    const key = randomUUID()
    const headers = { 'content-type': 'application/x-own' }
    const body = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    await replayed(t, client, '/api/pay', key, { body, headers, anew: ['set-cookie'] })
    t.equal((await client.post('/api/pay', key, body.subarray(1), headers)).status, 422)
    t.equal((await client.post('/api/pay', key)).status, 422)
    t.equal(upstream.received(key).length, 1)
    t.same(upstream.received(key)[0]?.body, body)
  })

  inEachPosition('a forwarded request without a body is protected too', arrangement, async (t, { client }) => {
    const key = randomUUID()
    await replayed(t, client, '/api/pay', key, { anew: ['set-cookie'] })
    t.equal(upstream.received(key).length, 1)
    t.equal(upstream.received(key)[0]?.body.length, 0)
  })

  inEachPosition('a streamed answer is gathered, stored, replayed', arrangement, async (t, { client, idempotency }) => {
    const key = randomUUID()
    const [first] = await replayed(t, client, '/api/streamed', key, { anew: ['transfer-encoding', 'content-length'] })
    t.equal(first.text.split('\n').length, 21)
    t.same((await idempotency.find(key, 'global'))?.response?.body, first.body)
    t.equal(upstream.received(key).length, 1)
  })

  inEachPosition('a streamed answer that is too large to keep is passed on, and not asked for again', {
    ...arrangement, options: { ...arrangement.options, maxBodySize: 100 }
  }, async (t, { client }) => {
    const key = randomUUID()
    const first = await client.post('/api/streamed', key)
    t.equal(first.status, 200)
    t.equal(first.text.split('\n').length, 21)
    t.match((await client.post('/api/streamed', key)).json, {
      code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE',
      originalStatus: 200
    })
    t.equal(upstream.received(key).length, 1)
  })

  inEachPosition('an answer that says that the request was dealt with is kept, ' +
    'one that says it failed is not', arrangement, async (t, { client }) => {
    const [declined, failing] = [randomUUID(), randomUUID()]
    const [first] = await replayed(t, client, '/api/declined', declined)
    t.equal(first.status, 402)
    t.equal((await client.post('/api/failing', failing)).status, 502)
    const retry = await client.post('/api/failing', failing)
    t.equal(retry.text, 'call 2')
    t.equal(retry.replayed, false)
  })

  inEachPosition('an answer that breaks off is not kept as whole', arrangement, async (t, { client, idempotency }) => {
    const key = randomUUID()
    t.ok((await client.post('/api/broken-off', key)).status >= 500)
    t.match(await idempotency.find(key, 'global'), { state: 'released' })
    t.equal((await client.post('/api/broken-off', key)).text, 'both halves')
    t.equal((await client.post('/api/broken-off', key)).replayed, true)
    t.equal(upstream.received(key).length, 2)
  })

  inEachPosition('a client that takes other encodings can read a replay', arrangement, async (t, { client }) => {
    const key = randomUUID()
    for (const encoding of ['gzip', 'identity']) {
      const answer = await client.post('/api/compressed', key, undefined, { 'accept-encoding': encoding })
      t.equal(answer.headers.get('content-encoding'), null)
      t.equal(answer.text, 'call 1')
    }
    t.equal(upstream.received(key).length, 1)
  })

  for (const body of [{ amount: 1 }, undefined]) {
    inEachPosition(`a client that leaves while its request ${body === undefined ? 'without a body ' : ''}` +
      'is forwarded gets the answer with its retry', arrangement, async (t, { app, client, idempotency }) => {
      const key = randomUUID()
      let left = false
      app.server.once('connection', (socket: Socket) => socket.once('close', () => { left = true }))
      const leaving = new AbortController()
      const first = fetch(`${client.url}/api/held`, {
        method: 'POST',
        headers: { 'idempotency-key': key, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: leaving.signal
      })
      await until(() => upstream.received(key).length === 1, 'the forwarded request')
      leaving.abort()
      await t.rejects(first, { name: 'AbortError' })
      await until(() => left, 'the gateway seeing the client leave')
      upstream.letGo(key)
      await until(async () => (await idempotency.find(key, 'global'))?.state === 'settled', 'the outcome')
      const retry = await client.post('/api/held', key, body)
      t.equal(retry.text, 'call 1')
      t.equal(retry.replayed, true)
      t.equal(upstream.received(key).length, 1)
    })
  }
}
