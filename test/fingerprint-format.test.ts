import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import type { RouteIdempotencyOptions } from '../plugin/index.ts'
import { legacyFingerprintOf } from '../plugin/request/legacy-fingerprint.ts'
import { kFingerprint } from '../plugin/request/take-fingerprint.ts'
import { build, MemoryStore } from './helper.ts'
import type { Client } from './helper.ts'

/**
 * The hashed text, character by character. Records that rest in a store outlive the process that wrote them, so a
 * change of one of these texts would make every retry of an older request another request.
 */
function sha256 (text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

const BYTES = 'application/octet-stream'

/** Answers with the fingerprint of each request: the current one, and the one of records of format 1. */
async function echo (
  t: Test, options: RouteIdempotencyOptions = {}, around: (app: FastifyInstance) => void = () => {}
): Promise<Client> {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.addContentTypeParser(BYTES, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  around(app)
  const properties = { amount: { type: 'integer' }, currency: { type: 'string', default: 'EUR' } }
  const routes = {
    '/x': {},
    '/v': { constraints: { version: '1.2.0', host: /^127\./ } },
    '/validated': { schema: { body: { type: 'object', properties } } }
  }
  for (const [url, more] of Object.entries(routes)) {
    app.post(url, { ...more, config: { idempotency: options } }, async request => ({
      current: request[kFingerprint],
      legacy: legacyFingerprintOf(request, options as never)
    }))
  }
  return listen()
}

type Sent = [path: string, body?: unknown, headers?: Record<string, string>]

const FORMATS: Array<[what: string, sent: Sent, current: string, legacy: string]> = [
  ['JSON', ['/x?a=1', { b: [1, null], a: 'é' }],
    'POST /x?a=1\napplication/json\n\njson\n{"1:a"1:é"1:b[1;z]}',
    'POST /x?a=1\njson\n{"1:a"1:é"1:b[1;z]}'],
  ['text', ['/x', 'a b'], 'POST /x\ntext/plain\n\ntext\na b', 'POST /x\ntext\na b'],
  ['bytes', ['/x', 'a b', { 'content-type': BYTES }],
    'POST /x\napplication/octet-stream\n\nbytes\na b',
    'POST /x\nbytes\na b'],
  ['no body', ['/x'], 'POST /x\n\n\nnone\n', 'POST /x\nnone\n'],
  ['a version and a host', ['/v', { a: 1 }, { 'accept-version': '1.x' }],
    'POST /v\napplication/json\n"1.x"[["host","/^127\\\\./"]]\njson\n{"1:a1;}',
    'POST /v\njson\n{"1:a1;}'],
  ['what validation changes', ['/validated', { amount: '7' }],
    'POST /validated\napplication/json\n\njson\n{"6:amount"1:7}',
    'POST /validated\njson\n{"6:amount7;"8:currency"3:EUR}']
]

for (const [what, [path, body, headers], current, legacy] of FORMATS) {
  t.test(`the fingerprint of ${what} is that of the records that are stored`, async (t) => {
    const answer = await (await echo(t)).post(path, 'k', body, headers)
    t.same(answer.json, { current: sha256(current), legacy: sha256(legacy) })
  })
}

t.test('the fingerprint by a function of the route’s own is that of the records that are stored too', async (t) => {
  for (const fingerprint of [() => 'same', () => Buffer.from('same')]) {
    const answer = await (await echo(t, { fingerprint })).post('/x?a=1', 'k', { a: 1 })
    t.same(answer.json, {
      current: sha256('POST /x\napplication/json\n\nown\nsame'),
      legacy: sha256('POST /x\nown\nsame')
    })
  }
})

t.test('the old fingerprint is refused where it was: of what cannot be compared after validation', async (t) => {
  const client = await echo(t, {}, app => app.addHook('preHandler', async (request) => { request.body = new Map() }))
  t.match((await client.post('/x', 'k', { a: 1 })).json, { statusCode: 415, code: 'FST_IDEMPOTENCY_BODY_UNREADABLE' })
})
