import { randomUUID } from 'node:crypto'
import multipart from '@fastify/multipart'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { canonicalJson } from '../plugin/index.ts'
import type { RouteIdempotencyOptions } from '../plugin/index.ts'
import { build, connectRedis, newPrefix } from './helper.ts'
import type { Client } from './helper.ts'

/** What a deployment changes about a POST /x. */
interface Version extends Omit<RouteShorthandOptions, 'config'> {
  idempotency?: RouteIdempotencyOptions
  /** What is set up beside the route. */
  around?: (app: FastifyInstance) => unknown
}

const OLD: Version = {}
const SENT = { amount: '7', tracking: 'x' }

/** Two processes on one Redis, one from before a deployment and one from after it. */
async function twoVersions (t: Test, before: Version, after: Version): Promise<[Client, Client, bodies: unknown[]]> {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const bodies: unknown[] = []
  const start = async ({ idempotency, around, ...route }: Version): Promise<Client> => {
    const { app, listen } = await build(t, { redis, keyPrefix })
    await around?.(app)
    const options = { ...route, config: { idempotency: idempotency ?? true } } as RouteShorthandOptions
    app.post('/x', options, async (request) => {
      bodies.push(request.body)
      return `run ${bodies.length}`
    })
    return listen()
  }
  return [await start(before), await start(after), bodies]
}

/** As zod and similar libraries do: what they return replaces the body, and may be of any class. */
function transforming (transform: (body: Record<string, unknown>) => unknown): Version {
  return {
    schema: { body: {} },
    validatorCompiler: () => body => ({ value: transform(body as Record<string, unknown>) })
  }
}

function schema (properties: Record<string, unknown>, rest: Record<string, unknown> = {}): Version {
  return { schema: { body: { type: 'object', properties, ...rest } } }
}

function stampInPlace (body: object): object {
  return Object.assign(body, { at: randomUUID() })
}

function stamp (request: FastifyRequest): void {
  request.body = { ...request.body as object, at: randomUUID() }
}

const text = { type: 'string' }
const currency = { type: 'string', default: 'EUR' }
const strict = { additionalProperties: false }
const money = Type.Object({ amount: Type.Integer(), currency: Type.String({ default: 'EUR' }) }, strict)

const DEPLOYMENTS: Record<string, [before: Version, after: Version]> = {
  'a schema with a default': [schema({ amount: text }), schema({ amount: text, currency })],
  'another default': [schema({ currency }), schema({ currency: { ...currency, default: 'USD' } })],
  'a schema that makes a number of a text': [OLD, schema({ amount: { type: 'integer' } })],
  'a schema that strips what it does not know': [OLD, schema({ amount: text }, strict)],
  'a property that used to be stripped': [
    schema({ amount: text }, strict), schema({ amount: text, tracking: text }, strict)
  ],
  'a default that is another one each time': [OLD, transforming(body => ({ id: randomUUID(), ...body }))],
  'a transformation into an instance of a class': [OLD, transforming(body => new Map(Object.entries(body)))],
  'a transformation that changes the body in place': [OLD, transforming(stampInPlace)],
  'a schema of TypeBox': [OLD, { schema: { body: money } }],
  'a preHandler of the route that stamps the body': [OLD, { preHandler: async request => stamp(request) }],
  'a preHandler of the app that stamps the body': [OLD, {
    around: app => app.addHook('preHandler', async request => stamp(request))
  }],
  'a preValidation of the route that stamps the body': [OLD, { preValidation: async request => stamp(request) }],
  'a preValidation of the route that changes the body in place': [OLD, {
    preValidation: [async (request) => { stampInPlace(request.body as object) }]
  }],
  'an onRoute hook of another plugin that stamps the body': [OLD, {
    around: app => app.addHook('onRoute', (route) => { route.preValidation = async request => stamp(request) })
  }]
}

for (const [what, [before, after]] of Object.entries(DEPLOYMENTS)) {
  t.test(`a deployment may bring ${what}: the retry of a request from before it is replayed`, async (t) => {
    const [old, current, bodies] = await twoVersions(t, before, after)
    t.equal((await old.post('/x', 'k1', SENT)).text, 'run 1')
    const retry = await current.post('/x', 'k1', SENT)
    t.equal(retry.text, 'run 1')
    t.equal(retry.replayed, true)

    t.equal((await current.post('/x', 'k2', SENT)).text, 'run 2')
    for (const version of [current, old]) {
      t.equal((await version.post('/x', 'k2', SENT)).replayed, true, 'and the other way round')
    }
    t.equal((await current.post('/x', 'k2', { ...SENT, amount: 8 })).status, 422, 'another body is another request')
    t.equal(bodies.length, 2)
  })
}

/** The deployments that change the fingerprint, as docs/options.md describes them. */
const CHANGES: Record<string, [before: Version, after: Version]> = {
  'a parser that makes something else of the same bytes': [OLD, {
    around (app) {
      app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => done(null, body))
    }
  }],
  'an instance-wide preValidation that stamps the body': [OLD, {
    around: app => app.addHook('preValidation', async request => stamp(request))
  }],
  'a host for the route': [OLD, { constraints: { host: /^127\.0\.0\.1/ } }]
}
for (const [what, [before, after]] of Object.entries(CHANGES)) {
  t.test(`a deployment that brings ${what} makes another request of a retry, which runs nothing`, async (t) => {
    const [old, current, bodies] = await twoVersions(t, before, after)
    await old.post('/x', 'k', SENT)
    t.match(await current.post('/x', 'k', SENT), { status: 422, json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' } })
    t.equal(bodies.length, 1)
  })
}

const FINGERPRINTS: Record<string, NonNullable<RouteIdempotencyOptions['fingerprint']>> = {
  'picks members' ({ body }) {
    const { amount, currency } = body as Record<string, string>
    return JSON.stringify([amount, currency])
  },
  'leaves members out': ({ body }) => canonicalJson({ ...body as object, tracking: undefined })
}
for (const [what, fingerprint] of Object.entries(FINGERPRINTS)) {
  t.test(`a fingerprint of the route’s own that ${what} is given the body as it was parsed`, async (t) => {
    const idempotency = { fingerprint }
    const after: Version = {
      ...schema({ amount: { type: 'integer' }, currency }), idempotency, preHandler: async request => stamp(request)
    }
    const [old, current, bodies] = await twoVersions(t, { idempotency }, after)
    await old.post('/x', 'k', SENT)
    t.equal((await current.post('/x', 'k', { ...SENT, tracking: 'y' })).replayed, true)
    t.equal((await current.post('/x', 'k', { ...SENT, amount: '8' })).status, 422)
    t.equal(bodies.length, 1)
  })
}

t.test('a form is compared as it was parsed', async (t) => {
  const around = (app: FastifyInstance) => app.register(formbody)
  const after = schema({ amount: { type: 'integer' }, currency })
  const [old, current] = await twoVersions(t, { around }, { ...after, around })
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  await old.post('/x', 'k', 'amount=7&note=a', type)
  t.equal((await current.post('/x', 'k', 'note=a&amount=7', type)).replayed, true)
  t.equal((await current.post('/x', 'k', 'note=b&amount=7', type)).status, 422)
})

t.test('the parts of an upload that are attached to the body are there for its fingerprint', async (t) => {
  const around = (app: FastifyInstance) => app.register(multipart, { attachFieldsToBody: 'keyValues' as const })
  const idempotency = { fingerprint: ({ body }: FastifyRequest) => canonicalJson(body) }
  const [old, current] = await twoVersions(t, { around, idempotency }, {
    around, idempotency, ...schema({ note: text, currency })
  })
  const upload = async ({ url }: Client, note: string): Promise<Response> => {
    const body = new FormData()
    body.append('note', note)
    body.append('file', new Blob(['bytes of an invoice']), 'invoice.pdf')
    return fetch(`${url}/x`, { method: 'POST', headers: { 'idempotency-key': 'k' }, body })
  }
  t.equal((await upload(old, 'for May')).status, 200)
  const retry = await upload(current, 'for May')
  t.equal(retry.headers.get('idempotent-replayed'), 'true')
  t.equal((await upload(current, 'for June')).status, 422)
})

t.test('a fingerprint that reads what a hook of the route prepares is asked again at the claim', async (t) => {
  interface Prepared { prepared?: { digest: string } | undefined }
  const ways: Record<string, NonNullable<RouteIdempotencyOptions['fingerprint']>> = {
    'it throws until then': request => (request as unknown as { prepared: { digest: string } }).prepared.digest,
    'it returns nothing until then': request => (request as Prepared).prepared?.digest as string,
    'it returns an empty text until then': request => (request as Prepared).prepared?.digest ?? ''
  }
  for (const [how, fingerprint] of Object.entries(ways)) {
    const { app, listen } = await build(t)
    let runs = 0
    app.post('/x', {
      config: { idempotency: { fingerprint } },
      preHandler: async (request) => { (request as Prepared).prepared = request.body as { digest: string } }
    }, async () => `run ${++runs}`)
    const client = await listen()
    await client.post('/x', 'k', { digest: 'a', noise: 1 })
    t.equal((await client.post('/x', 'k', { digest: 'a', noise: 2 })).replayed, true, how)
    t.equal((await client.post('/x', 'k', { digest: 'b' })).status, 422, how)
    t.equal(runs, 1)
  }
})

t.test('a body that a hook of the route reads is compared by what it read', async (t) => {
  const { app, listen } = await build(t)
  app.addContentTypeParser('application/x-stream', (_request, payload, done) => done(null, payload))
  app.post('/x', {
    config: { idempotency: true },
    preHandler: async (request) => {
      const chunks = await (request.body as NodeJS.ReadableStream & { toArray (): Promise<Buffer[]> }).toArray()
      request.body = Buffer.concat(chunks)
    }
  }, async () => 'done')
  const client = await listen()
  const type = { 'content-type': 'application/x-stream' }
  t.equal((await client.post('/x', 'k', 'one', type)).status, 200)
  t.equal((await client.post('/x', 'k', 'one', type)).replayed, true)
  t.equal((await client.post('/x', 'k', 'two', type)).status, 422)
})

function refusal (message: string, statusCode: number): Error {
  return Object.assign(new Error(message), { statusCode })
}

t.test('what cannot be compared is told to those who may know: after authentication and validation', async (t) => {
  const refused: Array<[what: string, options: RouteIdempotencyOptions, status: number]> = [
    ['a body that cannot be compared', {}, 415],
    ['a fingerprint that throws', { fingerprint: () => { throw refusal('no digest', 418) } }, 418],
    ['a fingerprint of another type', { fingerprint: (() => 7) as unknown as () => string }, 500]
  ]
  for (const [what, options, status] of refused) {
    const { app, listen } = await build(t)
    app.addContentTypeParser('application/x-own', (_request, payload, done) => {
      payload.resume().on('end', () => done(null, new Map()))
    })
    app.post('/x', {
      config: { idempotency: options },
      schema: { querystring: { type: 'object', required: ['valid'] } },
      preHandler: async (request) => {
        if (request.headers.authorization === undefined) throw refusal('who is it?', 401)
      }
    }, async () => 'done')
    const client = await listen()
    const send = async (path: string, headers: Record<string, string>): Promise<number> =>
      (await client.post(path, 'k', 'body', { 'content-type': 'application/x-own', ...headers })).status
    t.equal(await send('/x', { authorization: 'a' }), 400, `${what}: invalid`)
    t.equal(await send('/x?valid=1', {}), 401, `${what}: unknown`)
    t.equal(await send('/x?valid=1', { authorization: 'a' }), status, what)
    t.equal(await app.idempotency.find('k', 'global'), null)
  }
})

t.test('a key that a hook of the route finds protects the request too', async (t) => {
  const { app, listen } = await build(t)
  let runs = 0
  app.post('/x', {
    config: { idempotency: { required: false } },
    preHandler: async (request) => { request.headers['idempotency-key'] = request.headers['x-event'] }
  }, async () => `run ${++runs}`)
  const client = await listen()
  const send = (amount: number) => client.post('/x', null, { amount }, { 'x-event': 'e' })
  t.equal((await send(1)).text, 'run 1')
  t.equal((await send(1)).replayed, true)
  t.equal((await send(2)).status, 422)
})

t.test('a request is protected although another plugin threw the route’s hooks before validation away', async (t) => {
  const { app, listen } = await build(t, {}, (app) => {
    app.addHook('onRoute', function (route) {
      // Added later than this plugin's own hooks.
      this.after(() => { this.after(() => { route.preValidation = [] }) })
    })
  })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  await client.post('/x', 'k', { a: 1 })
  t.equal((await client.post('/x', 'k', { a: 1 })).replayed, true)
  t.equal((await client.post('/x', 'k', { a: 2 })).status, 422)
})

t.test('the fingerprint costs those who cannot claim a key nothing: it is not taken', async (t) => {
  let asked = 0
  const { app, listen } = await build(t, { required: false, fingerprint: () => `${++asked}` })
  const handler = async (): Promise<string> => 'done'
  app.post('/x', { config: { idempotency: true } }, handler)
  app.get('/x', { config: { idempotency: true } }, handler)
  app.post('/unprotected', handler)
  const client = await listen()
  t.equal((await client.post('/x', null, { a: 1 })).status, 200)
  t.equal((await client.post('/unprotected', 'k', { a: 1 })).status, 200)
  t.equal((await fetch(`${client.url}/x`, { method: 'HEAD', headers: { 'idempotency-key': 'k' } })).status, 200)
  t.equal(asked, 0)
  t.equal((await client.post('/x', 'k', { a: 1 })).status, 200)
  t.equal(asked, 1, 'and once by those who can')
})

t.test('what an instance-wide preValidation makes of the body is compared, as a part of parsing', async (t) => {
  const { app, listen } = await build(t)
  app.addHook('preValidation', async (request) => {
    const { sealed } = request.body as { sealed: string }
    request.body = JSON.parse(Buffer.from(sealed, 'base64').toString())
  })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  const seal = (text: string) => ({ sealed: Buffer.from(text).toString('base64') })
  await client.post('/x', 'k', seal('{"a":1}'))
  t.equal((await client.post('/x', 'k', seal('{ "a": 1 }'))).replayed, true)
  t.equal((await client.post('/x', 'k', seal('{"a":2}'))).status, 422)
})
