import { gunzipSync } from 'node:zlib'
import { get } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { build } from './helper.ts'

interface Raw {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** As it comes over the wire: fetch would decompress it. */
function post (url: string, key: string, headers: Record<string, string>): Promise<Raw> {
  return new Promise((resolve, reject) => {
    get(url, { method: 'POST', headers: { 'idempotency-key': key, ...headers } }, (response) => {
      response.toArray().then(chunks => resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: Buffer.concat(chunks as Buffer[])
      }), reject)
    }).on('error', reject).end()
  })
}

const LONG = JSON.stringify({ id: 1, text: 'all work and no play '.repeat(200) })

async function registerAll (app: FastifyInstance): Promise<void> {
  await app.register(compress, { threshold: 100 })
  await app.register(cors, { origin: ['https://a.example', 'https://b.example'], credentials: true, exposedHeaders: ['x-own'] })
  await app.register(helmet, { contentSecurityPolicy: { directives: { 'script-src': ["'self'"] } }, enableCSPNonces: true })
}

for (const order of ['before', 'after']) {
  t.test(`with @fastify/compress, cors and helmet registered ${order} the plugin`, async (t) => {
    const { app, listen } = await build(t, {}, async (app) => { if (order === 'before') await registerAll(app) })
    if (order === 'after') await registerAll(app)
    let runs = 0
    app.post('/json', { config: { idempotency: true } }, async (_request, reply) => {
      runs++
      return reply.code(201).header('x-own', 'yes').send(JSON.parse(LONG))
    })
    app.post('/stream', { config: { idempotency: true } }, async (_request, reply) => {
      runs++
      return reply.type('application/json').send(Readable.from([LONG.slice(0, 1000), LONG.slice(1000)]))
    })
    const { url } = await listen()

    for (const path of ['/json', '/stream']) {
      const name = path.slice(1)
      const origin = { origin: 'https://a.example' }

      t.test(`a replay of ${path} is byte for byte the first answer`, async (t) => {
        for (const encoding of ['gzip', 'identity']) {
          const first = await post(url + path, `${name}-${encoding}`, { 'accept-encoding': encoding, ...origin })
          const second = await post(url + path, `${name}-${encoding}`, { 'accept-encoding': encoding, ...origin })
          t.equal(first.headers['content-encoding'], encoding === 'gzip' ? 'gzip' : undefined)
          t.equal(second.headers['idempotent-replayed'], 'true')
          t.equal(second.status, first.status)
          t.same(second.body, first.body)
          for (const header of Object.keys(first.headers)) {
            // A nonce is for one page view only; a date is when it was sent.
            if (header !== 'date' && header !== 'content-security-policy') t.equal(second.headers[header], first.headers[header], header)
          }
          t.same(Object.keys(second.headers).filter(name => !(name in first.headers)), ['idempotent-replayed'])
        }
      })

      t.test(`each replay of ${path} negotiates its own encoding`, async (t) => {
        const first = await post(url + path, `${name}-k`, { 'accept-encoding': 'gzip' })
        t.equal(gunzipSync(first.body).toString(), LONG)
        const plain = await post(url + path, `${name}-k`, { 'accept-encoding': 'identity' })
        t.equal(plain.headers['idempotent-replayed'], 'true')
        t.equal(plain.headers['content-encoding'], undefined)
        t.equal(plain.body.toString(), LONG)
        const again = await post(url + path, `${name}-k`, { 'accept-encoding': 'gzip' })
        t.equal(again.headers['content-encoding'], 'gzip')
        t.equal(gunzipSync(again.body).toString(), LONG)
      })

      t.test(`each replay of ${path} gets the CORS headers of its own origin, and a nonce of its own`, async (t) => {
        const first = await post(url + path, `${name}-cors`, { origin: 'https://a.example' })
        const second = await post(url + path, `${name}-cors`, { origin: 'https://b.example' })
        t.equal(first.headers['access-control-allow-origin'], 'https://a.example')
        t.equal(second.headers['access-control-allow-origin'], 'https://b.example')
        t.equal(second.headers['idempotent-replayed'], 'true')
        t.equal(second.headers['x-frame-options'], 'SAMEORIGIN')
        t.type(second.headers['content-security-policy'], 'string')
        t.not(second.headers['content-security-policy'], first.headers['content-security-policy'])
      })
    }

    t.test('each key ran its handler once', async (t) => {
      t.equal(runs, 2 * 4)
    })
  })
}
