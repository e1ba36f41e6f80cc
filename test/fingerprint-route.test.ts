import { request as send } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import formbody from '@fastify/formbody'
import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import type { RouteIdempotencyOptions } from '../plugin/index.ts'
import { build, connectRedis, newPrefix } from './helper.ts'

type Constraints = NonNullable<RouteShorthandOptions['constraints']>

interface Sent {
  status: number
  text: string
  replayed: boolean
}

/** A POST of the same JSON with the same key. fetch() does not let its caller choose the host. */
async function post (url: string, headers: Record<string, string> = {}, path = '/x'): Promise<Sent> {
  const all = { 'content-type': 'application/json', 'idempotency-key': 'k', ...headers }
  const request = send(url + path, { method: 'POST', headers: all })
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject).end('{"amount":"1"}')
  })
  const replayed = answer.headers['idempotent-replayed'] === 'true'
  return { status: answer.statusCode ?? 0, text: await text(answer), replayed }
}

interface Served {
  url: string
  runs: () => number
}

type Protection = true | RouteIdempotencyOptions

/** An app with a route /x for each of these constraints. */
async function serve (
  t: Test, routes: Constraints[], idempotency: Protection = true, options: Parameters<typeof build>[1] = {}
): Promise<Served> {
  const { app, listen } = await build(t, options)
  let runs = 0
  for (const constraints of routes) {
    app.post('/x', { constraints, config: { idempotency } }, async () => `${constraints.version ?? ''} ${++runs}`)
  }
  return { url: (await listen()).url, runs: () => runs }
}

const WAYS: Record<string, Protection> = {
  'the default fingerprint': true,
  'a fingerprint of its own': { fingerprint: () => 'the same' }
}
for (const [how, idempotency] of Object.entries(WAYS)) {
  t.test(`two versions of a route are two requests, by ${how}`, async (t) => {
    const { url, runs } = await serve(t, [{ version: '1.2.0' }, { version: '2.0.0' }], idempotency)
    t.equal((await post(url, { 'accept-version': '1.2.0' })).text, '1.2.0 1')
    t.equal((await post(url, { 'accept-version': '1.2.0' })).replayed, true)
    t.equal((await post(url, { 'accept-version': '2.0.0' })).status, 422)
    t.equal(runs(), 1)
  })

  t.test(`two hosts of a route are two requests, by ${how}`, async (t) => {
    const hosts = [{ host: 'a.example' }, { host: /^[bc]\.example$/ }, { host: /^d\.example$/ }, {}]
    const { url, runs } = await serve(t, hosts, idempotency)
    t.equal((await post(url, { host: 'b.example' })).status, 200)
    t.equal((await post(url, { host: 'b.example' })).replayed, true)
    t.equal((await post(url, { host: 'c.example' })).replayed, true, 'a route with two names is one')
    for (const host of ['a.example', 'd.example', 'e.example']) t.equal((await post(url, { host })).status, 422, host)
    t.equal(runs(), 1)
  })
}

t.test('two routes told apart by a constraint of the app’s own are two requests', async (t) => {
  const region = {
    name: 'region',
    storage () {
      const routes = new Map<string, unknown>()
      return {
        get: (key: string) => routes.get(key) ?? null,
        set: (key: string, store: unknown) => { routes.set(key, store) }
      }
    },
    deriveConstraint: (request: IncomingMessage) => request.headers['x-region'],
    validate () {}
  }
  const server = { constraints: { region } } as never
  const { url, runs } = await serve(t, [{ region: 'eu' }, { region: 'us' }], true, { server })
  t.equal((await post(url, { 'x-region': 'eu' })).status, 200)
  t.equal((await post(url, { 'x-region': 'eu' })).replayed, true)
  t.equal((await post(url, { 'x-region': 'us' })).status, 422)
  t.equal(runs(), 1)
})

t.test('a deployment of a newer version does not make another request of a retry that asked for a range', async (t) => {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const before = await serve(t, [{ version: '1.2.0' }], true, { redis, keyPrefix })
  const after = await serve(t, [{ version: '1.2.0' }, { version: '1.3.0' }], true, { redis, keyPrefix })
  t.equal((await post(before.url, { 'accept-version': '1.x' })).text, '1.2.0 1')
  const retry = await post(after.url, { 'accept-version': '1.x' })
  t.equal(retry.text, '1.2.0 1')
  t.equal(retry.replayed, true)
})

t.test('a deployment that renames a parameter of the path does not make another request of a retry', async (t) => {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const urls: string[] = []
  for (const path of ['/orders/:id', '/orders/:order']) {
    const { app, listen } = await build(t, { redis, keyPrefix })
    app.post(path, { config: { idempotency: true } }, async () => path)
    urls.push((await listen()).url)
  }
  t.equal((await post(urls[0] as string, {}, '/orders/7')).text, '/orders/:id')
  t.equal((await post(urls[1] as string, {}, '/orders/7')).text, '/orders/:id')
})

const PATCH_TYPES = ['application/merge-patch+json', 'application/json-patch+json']

async function parsing (app: FastifyInstance): Promise<void> {
  await app.register(formbody)
  app.addContentTypeParser(PATCH_TYPES, { parseAs: 'string' }, app.getDefaultJsonParser('error', 'error'))
}

for (const [how, idempotency] of Object.entries(WAYS)) {
  t.test(`another media type makes another request, and its parameters no difference, by ${how}`, async (t) => {
    const { app, listen } = await build(t)
    await parsing(app)
    let runs = 0
    app.patch('/x', { config: { idempotency } }, async () => `run ${++runs}`)
    const { url } = await listen()
    const patch = async (key: string, type: string, body: string): Promise<Response> =>
      fetch(`${url}/x`, { method: 'PATCH', headers: { 'idempotency-key': key, 'content-type': type }, body })
    const json = '{"amount":"1"}'

    await patch('k1', 'application/json', json)
    const same = ['application/json; charset=utf-8', 'Application/JSON', 'application/json ;charset="UTF-8"; x=y']
    for (const type of same) {
      t.equal((await patch('k1', type, json)).headers.get('idempotent-replayed'), 'true', type)
    }
    t.equal((await patch('k1', 'application/x-www-form-urlencoded', 'amount=1')).status, 422, 'a form')
    t.equal((await patch('k1', 'text/plain', json)).status, 422, 'text')
    for (const type of PATCH_TYPES) t.equal((await patch('k1', type, json)).status, 422, type)
    t.equal(runs, 1)

    await patch('k2', 'application/merge-patch+json;charset=utf-8', json)
    t.equal((await patch('k2', 'application/merge-patch+json', json)).headers.get('idempotent-replayed'), 'true')
    t.equal((await patch('k2', 'application/json', json)).status, 422)
    t.equal(runs, 2)
  })
}

t.test('a request without a body has no media type, and its retry has none either', async (t) => {
  const { app, listen } = await build(t)
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k')
  t.equal((await client.post('/x', 'k')).replayed, true)
})
