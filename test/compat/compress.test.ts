import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const TEXT = JSON.stringify({ id: 1, text: 'all work and no play '.repeat(200) })

const arrangement = {
  other: (app: FastifyInstance) => app.register(compress, { threshold: 100 }),
  routes (app: FastifyInstance, run: () => number) {
    app.post('/json', { config: { idempotency: true } }, async (_request, reply) => {
      run()
      return reply.code(201).header('x-own', 'yes').send(JSON.parse(TEXT))
    })
    app.post('/stream', { config: { idempotency: true } }, async (_request, reply) => {
      run()
      return reply.type('application/json').send(Readable.from([TEXT.slice(0, 1000), TEXT.slice(1000)]))
    })
    app.post('/echo', { config: { idempotency: true } }, async (request) => {
      run()
      return request.body
    })
    app.post('/compressed', { config: { idempotency: true } }, async (_request, reply) => {
      run()
      return reply.type('application/json').compress(Readable.from([TEXT]))
    })
  }
}

inEachPosition('a replay is the first answer, compressed as that one was', arrangement, async (t, { client, runs }) => {
  for (const path of ['/json', '/stream']) {
    for (const encoding of ['gzip', 'br', 'identity']) {
      const [first] = await replayed(t, client, path, `${path}-${encoding}`, {
        headers: { 'accept-encoding': encoding }
      })
      t.equal(first.headers.get('content-encoding'), encoding === 'identity' ? null : encoding)
      t.equal(first.text, TEXT)
    }
  }
  t.equal(runs(), 6)
})

inEachPosition('each replay is compressed as its own client asks', arrangement, async (t, { client, runs }) => {
  for (const path of ['/json', '/stream']) {
    for (const [encoding, expected] of [
      ['gzip', 'gzip'],
      ['identity', null],
      ['br', 'br'],
      ['deflate', 'deflate'],
      ['gzip', 'gzip']
    ] as const) {
      const answer = await client.post(path, path, undefined, { 'accept-encoding': encoding })
      t.equal(answer.headers.get('content-encoding'), expected)
      t.equal(answer.text, TEXT)
    }
  }
  t.equal(runs(), 2)
})

inEachPosition('a retry may compress its body differently from the first', arrangement, async (t, { client, runs }) => {
  const json = { 'content-type': 'application/json' }
  t.equal((await client.post('/echo', 'k', gzipSync(TEXT), { ...json, 'content-encoding': 'gzip' })).text, TEXT)
  const plain = await client.post('/echo', 'k', TEXT, json)
  t.equal(plain.replayed, true)
  t.equal(plain.text, TEXT)
  const other = await client.post('/echo', 'k', gzipSync('{"id":2}'), { ...json, 'content-encoding': 'gzip' })
  t.equal(other.json.code, 'FST_IDEMPOTENCY_KEY_REUSED')
  t.equal(runs(), 1)
})

inEachPosition('what a handler compressed itself is kept as it compressed it, ' +
  'whatever a replay is asked for', arrangement, async (t, { client }) => {
  const [first] = await replayed(t, client, '/compressed', 'k', { headers: { 'accept-encoding': 'gzip' } })
  const plain = await client.post('/compressed', 'k', undefined, { 'accept-encoding': 'identity' })
  for (const answer of [first, plain]) {
    t.equal(answer.headers.get('content-encoding'), 'gzip')
    t.equal(answer.text, TEXT)
  }
})
