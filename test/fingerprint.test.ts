import fc from 'fast-check'
import t from 'tap'
import { isDeepStrictEqual } from 'node:util'
import { canonicalJson } from '../plugin/index.ts'
import { build, MemoryStore } from './helper.ts'
import type { Client, TestApp } from './helper.ts'

async function anyBody (
  t: Parameters<typeof build>[0],
  options: Parameters<typeof build>[1] = {}
): Promise<TestApp & { runs: () => number }> {
  const built = await build(t, { store: new MemoryStore(), ...options })
  let runs = 0
  const handler = async (): Promise<string> => `run ${++runs}`
  for (const url of ['/x', '/y']) {
    built.app.route({ method: ['POST', 'PATCH', 'PUT'], url, config: { idempotency: true }, handler })
  }
  return { ...built, runs: () => runs }
}

/** Whether a second request counts as a retry of the first. */
async function isRetry (
  client: Client,
  key: string,
  first: string,
  second: string,
  type = 'application/json'
): Promise<boolean> {
  await client.post('/x', key, first, { 'content-type': type })
  const answer = await client.post('/x', key, second, { 'content-type': type })
  if (answer.status !== 200 && answer.status !== 422) throw new Error(`unexpected ${answer.status}: ${answer.text}`)
  return answer.replayed
}

const SAME: Record<string, [string, string]> = {
  'the order of members': ['{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}'],
  'white space': ['{"a":[1,2]}', ' {\n "a" : [ 1, 2 ] } '],
  'how a number or a text is written': ['{"a":100,"b":"é"}', '{"a":1e2,"b":"\\u00e9"}']
}
for (const [what, [first, second]] of Object.entries(SAME)) {
  t.test(`${what} makes no difference`, async (t) => {
    const { listen, runs } = await anyBody(t)
    t.equal(await isRetry(await listen(), 'k', first, second), true)
    t.equal(runs(), 1)
  })
}

const DIFFERENT: Record<string, [string, string]> = {
  'another value': ['{"a":1}', '{"a":2}'],
  'another type': ['{"a":1}', '{"a":"1"}'],
  'null instead of nothing': ['{"a":null}', '{}'],
  'false instead of null': ['{"a":false}', '{"a":null}'],
  'another order of an array': ['[1,2]', '[2,1]'],
  'another nesting': ['{"a":{"b":1}}', '{"a":[{"b":1}]}'],
  'an array instead of its text': ['["a","b"]', '["a\\",\\"b"]'],
  'a member that moved': ['{"a":{"x":1},"b":{}}', '{"a":{},"b":{"x":1}}'],
  'an object instead of an array': ['{}', '[]'],
  'a number instead of its text': ['7', '"7"'],
  'two numbers instead of one': ['[1,2]', '[12]'],
  'another broken character': ['{"a":"\\ud800"}', '{"a":"\\ud801"}'],
  'another broken name': ['{"\\ud800":1}', '{"\\ud801":1}']
}
for (const [what, [first, second]] of Object.entries(DIFFERENT)) {
  t.test(`${what} makes another request`, async (t) => {
    const { listen, runs } = await anyBody(t)
    t.equal(await isRetry(await listen(), 'k', first, second), false)
    t.equal(runs(), 1)
  })
}

t.test('another method, path or query makes another request', async (t) => {
  const { listen, runs } = await anyBody(t)
  const { url } = await listen()
  const send = async (method: string, path: string): Promise<number> =>
    (await fetch(url + path, { method, headers: { 'idempotency-key': 'k' } })).status
  t.equal(await send('POST', '/x?a=1'), 200)
  t.equal(await send('POST', '/x?a=1'), 200)
  for (const [method, path] of [
    ['PATCH', '/x?a=1'],
    ['PUT', '/x?a=1'],
    ['POST', '/y?a=1'],
    ['POST', '/x?a=2'],
    ['POST', '/x'],
    ['POST', '/x?a=1&b=2']
  ] as const) {
    t.equal(await send(method, path), 422, `${method} ${path}`)
  }
  t.equal(runs(), 1)
})

t.test('canonical JSON is the same for equal values and for no others', async (t) => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 4 }), (a, b) => {
    const equal = isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)))
    return (canonicalJson(JSON.parse(JSON.stringify(a))) === canonicalJson(JSON.parse(JSON.stringify(b)))) === equal
  }), { numRuns: 2_000 })
  const shuffled = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(shuffled)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
          Object.entries(value)
            .reverse()
            .map(([name, member]) => [name, shuffled(member)])
        )
        : value
  const isSame = (value: unknown): boolean => canonicalJson(value) === canonicalJson(shuffled(value))
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), isSame))
  t.pass('no counterexample')
})

t.test('text and bytes are compared byte for byte', async (t) => {
  const { app, listen } = await anyBody(t)
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body)
  )
  const client = await listen()
  t.equal(await isRetry(client, 'k1', 'a b', 'a b', 'text/plain'), true)
  t.equal(await isRetry(client, 'k2', 'a b', 'a  b', 'text/plain'), false)
  t.equal(await isRetry(client, 'k3', '{"a":1,"b":2}', '{"b":2,"a":1}', 'text/plain'), false)
  t.equal(await isRetry(client, 'k4', '\0\x01', '\0\x01', 'application/octet-stream'), true)
  t.equal(await isRetry(client, 'k5', '\0\x01', '\0\x02', 'application/octet-stream'), false)
})

t.test('no body and an empty one are told from a body', async (t) => {
  const { listen } = await anyBody(t)
  const client = await listen()
  await client.post('/x', 'k')
  t.equal((await client.post('/x', 'k')).replayed, true)
  t.equal((await client.post('/x', 'k', { a: 1 })).status, 422)
  t.equal((await client.post('/x', 'k', null)).status, 422)
})

t.test('the body counts as it was sent, not as the schema left it: defaults, coercion, what is stripped', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.post('/x', {
    config: { idempotency: true },
    schema: {
      body: {
        type: 'object',
        properties: { amount: { type: 'integer' }, currency: { type: 'string', default: 'EUR' } },
        additionalProperties: false
      }
    }
  }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k', { amount: 1 })
  t.equal((await client.post('/x', 'k', { amount: 1 })).replayed, true)
  for (const other of [{ amount: '1' }, { amount: 1, currency: 'EUR' }, { amount: 1, tracking: 'x' }]) {
    t.equal((await client.post('/x', 'k', other)).status, 422, JSON.stringify(other))
  }
})

t.test('a handler that changes the body does not change what its retry is compared with', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    (request.body as { amount: number }).amount = 99
    return 'done'
  })
  const client = await listen()
  await client.post('/x', 'k', { amount: 1 })
  t.equal((await client.post('/x', 'k', { amount: 1 })).replayed, true)
  t.equal((await client.post('/x', 'k', { amount: 99 })).status, 422)
})

t.test('a body of a form, which has no prototype, is compared like any other', async (t) => {
  const { app, listen } = await anyBody(t)
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.assign(Object.create(null) as object, Object.fromEntries(new URLSearchParams(String(body)))))
  })
  const client = await listen()
  t.equal(await isRetry(client, 'k1', 'a=1&b=2', 'b=2&a=1', 'application/x-www-form-urlencoded'), true)
  t.equal(await isRetry(client, 'k2', 'a=1', 'a=2', 'application/x-www-form-urlencoded'), false)
})

class Money {
  amount = 1
}

/** Bodies that a parser of the app’s own might make. JSON.stringify would give the same text for each of them. */
const UNREADABLE: Record<string, () => unknown> = {
  'a Map': () => new Map([['a', 1]]),
  'a Set': () => new Set([1]),
  'form data': () => new URLSearchParams('a=1'),
  'an instance of a class': () => new Money(),
  'a nested Map': () => ({ a: [new Map()] }),
  NaN: () => ({ a: NaN }),
  'a function': () => ({ a: () => 1 }),
  'a nesting without end': () => {
    const body: Record<string, unknown> = {}
    body.self = body
    return body
  },
  'a body that no parser read': () => undefined
}
for (const [what, parsed] of Object.entries(UNREADABLE)) {
  t.test(`${what} is refused with a 415 that asks for a fingerprint, and nothing runs`, async (t) => {
    const { app, listen, runs } = await anyBody(t)
    app.addContentTypeParser('application/x-own', (_request, payload, done) => {
      payload.resume().on('end', () => done(null, parsed()))
    })
    const answer = await (await listen()).post('/x', 'k', 'body', { 'content-type': 'application/x-own' })
    t.equal(answer.status, 415)
    t.equal(answer.json.code, 'FST_IDEMPOTENCY_BODY_UNREADABLE')
    t.match(answer.json.detail, /needs an idempotency option "fingerprint" of its own/)
    t.equal(runs(), 0)
  })
}

t.test('a stream and a multipart body are refused too, and fine with a fingerprint of the route’s own', async (t) => {
  const { app, listen, runs } = await anyBody(t)
  app.addContentTypeParser('application/x-stream', (_request, payload, done) => done(null, payload))
  app.addContentTypeParser(/^multipart\/form-data/, (_request, payload, done) =>
    payload.resume().on('end', () => done(null, { looks: 'plain' }))
  )
  let uploads = 0
  app.post(
    '/upload',
    { config: { idempotency: { fingerprint: request => String(request.headers['x-digest']) } } },
    async () => `upload ${++uploads}`
  )
  const client = await listen()
  for (const type of ['application/x-stream', 'multipart/form-data; boundary=b']) {
    const answer = await client.post('/x', 'k', 'body', { 'content-type': type })
    t.equal(answer.status, 415, type)
    t.equal(answer.json.code, 'FST_IDEMPOTENCY_BODY_UNREADABLE')
    const upload = (digest: string) =>
      client.post('/upload', type.slice(0, 9), 'body', { 'content-type': type, 'x-digest': digest })
    const first = await upload('one')
    t.equal(first.status, 200)
    t.equal((await upload('one')).text, first.text)
    t.equal((await upload('two')).status, 422)
  }
  t.equal(runs(), 0)
  t.equal(uploads, 2)
})

t.test('a fingerprint of one’s own stands for query and body; method and path always count', async (t) => {
  const { listen, runs } = await anyBody(t, {
    fingerprint: request => Buffer.from(String(request.headers['x-digest']))
  })
  const client = await listen()
  const post = (path: string, body: unknown, digest = 'd') => client.post(path, 'k', body, { 'x-digest': digest })
  t.equal((await post('/x?a=1', { a: 1 })).status, 200)
  t.equal((await post('/x?a=2', { a: 2 })).replayed, true)
  t.equal((await post('/x', { a: 1 }, 'other')).status, 422)
  t.equal((await post('/y', { a: 1 })).status, 422)
  t.equal(runs(), 1)
})

t.test('a fingerprint that is neither text nor bytes is an error of the app, and nothing runs', async (t) => {
  const { listen, runs } = await anyBody(t, { fingerprint: (() => 7) as unknown as () => string })
  const answer = await (await listen()).post('/x', 'k')
  t.equal(answer.status, 500)
  t.equal(answer.json.code, 'FST_IDEMPOTENCY_OPTION_FAILED')
  t.match(answer.json.detail, /option "fingerprint" of POST \/x must return a string or a Buffer, got number/)
  t.equal(runs(), 0)
})

t.test('canonicalJson leaves out members that are undefined, and says what it cannot compare', async (t) => {
  t.equal(canonicalJson({ a: 1, b: undefined, c: [undefined] }), canonicalJson({ c: [null], a: 1 }))
  for (const value of [undefined, new Map(), { a: NaN }, () => 1]) {
    t.throws(() => canonicalJson(value), { code: 'FST_IDEMPOTENCY_BODY_UNREADABLE', statusCode: 415 })
  }
})

t.test('dates, big integers and bytes inside a body are compared by their value', async (t) => {
  t.equal(canonicalJson({ at: new Date(5) }), canonicalJson({ at: new Date(5) }))
  t.not(canonicalJson({ at: new Date(5) }), canonicalJson({ at: new Date(6) }))
  t.not(canonicalJson({ at: new Date(5) }), canonicalJson({ at: 5 }))
  t.not(canonicalJson({ n: 1n }), canonicalJson({ n: 1 }))
  t.not(canonicalJson({ b: Buffer.from('a') }), canonicalJson({ b: Buffer.from('b') }))
  t.equal(canonicalJson({ b: Buffer.from('a') }), canonicalJson({ b: new Uint8Array([97]) }))
})
