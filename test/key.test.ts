import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest, FastifyServerOptions } from 'fastify'
import fc from 'fast-check'
import t from 'tap'
import idempotency from '../plugin/index.ts'
import { parseKey } from '../plugin/shared/key-grammar.ts'
import { build, MemoryStore } from './helper.ts'

/** Sends a request whose header lines are exactly these bytes. */
async function raw (url: string, ...headerLines: string[]): Promise<{ status: number, body: string }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    Buffer.from(
      'POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n' +
        `content-length: 0\r\n${headerLines.map(line => `${line}\r\n`).join('')}\r\n`,
      'latin1'
    )
  )
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  await once(socket, 'close')
  return { status: Number(text.slice(9, 12)), body: text.slice(text.indexOf('\r\n\r\n') + 4) }
}

async function keyOf ({ idempotency }: FastifyRequest): Promise<{ key: string | null }> {
  return { key: idempotency?.key ?? null }
}

async function echo (t: Parameters<typeof build>[0], options: Parameters<typeof build>[1] = {}): Promise<string> {
  const { app, listen } = await build(t, { store: new MemoryStore(), ...options })
  app.post('/x', { config: { idempotency: true } }, keyOf)
  return (await listen()).url
}

const UUID = '8e03978e-40d5-43e8-bc93-6894a57f9324'

const VALID: Array<[how: string, value: string, key: string]> = [
  ['an RFC 9651 string', `"${UUID}"`, UUID],
  ['a bare token', UUID, UUID],
  ['a bare value with punctuation', 'order:7/pay;v=1', 'order:7/pay;v=1'],
  ['a string with an escaped quote', '"a\\"b"', 'a"b'],
  ['a string with an escaped backslash', '"a\\\\b"', 'a\\b'],
  ['a string with a comma', '"a,b"', 'a,b'],
  ['a bare value with a comma', 'a,b', 'a,b'],
  ['a string with parameters, which are ignored', '"abc";v=1; w="x, y"', 'abc'],
  ['a string with white space around it', '  "abc"  ', 'abc'],
  ['a string of 255 characters', `"${'x'.repeat(255)}"`, 'x'.repeat(255)]
]

for (const [how, value, key] of VALID) {
  t.test(`${how} is a key`, async (t) => {
    const { status, body } = await raw(await echo(t), `idempotency-key: ${value}`)
    t.equal(status, 200)
    t.same(JSON.parse(body), { key })
  })
}

const INVALID: Array<[how: string, ...lines: string[]]> = [
  ['an empty header', 'idempotency-key:'],
  ['an empty string', 'idempotency-key: ""'],
  ['a lone quote', 'idempotency-key: "'],
  ['a string that does not end', 'idempotency-key: "abc'],
  ['a string that does not begin', 'idempotency-key: abc"'],
  ['a string with something behind it', 'idempotency-key: "abc"def'],
  ['a string with an unknown escape', 'idempotency-key: "a\\nb"'],
  ['a string with an escape at its end', 'idempotency-key: "abc\\"'],
  ['a list of strings', 'idempotency-key: "a", "b"'],
  ['a value with a space', 'idempotency-key: a b'],
  ['a string with a space', 'idempotency-key: "a b"'],
  ['a value that is not ASCII', 'idempotency-key: caf\xe9'],
  ['a string that is not ASCII', 'idempotency-key: "caf\xe9"'],
  ['a string with a tab', 'idempotency-key: "a\tb"'],
  ['256 characters', `idempotency-key: ${'x'.repeat(256)}`],
  ['two header lines', 'idempotency-key: a', 'idempotency-key: b'],
  ['two header lines that say the same', `idempotency-key: "${UUID}"`, `idempotency-key: "${UUID}"`],
  ['two header lines, the first with a parameter', 'idempotency-key: "a";v=1', 'idempotency-key: "b"'],
  ['two header lines, one empty', 'idempotency-key: a', 'idempotency-key:'],
  ['two header lines in two spellings', 'Idempotency-Key: a', 'IDEMPOTENCY-KEY: b'],
  ['three header lines among others', 'idempotency-key: a', 'x-other: b', 'idempotency-key: c', 'idempotency-key: d']
]

for (const [how, ...lines] of INVALID) {
  t.test(`${how} is refused with a 400`, async (t) => {
    const { status, body } = await raw(await echo(t), ...lines)
    t.equal(status, 400)
    t.match(JSON.parse(body), {
      code: 'FST_IDEMPOTENCY_KEY_INVALID',
      status: 400,
      retryable: false,
      detail: /idempotency-key/
    })
  })
}

/** Node.js handles some of these in its own way: it keeps the first of repeated lines, or joins them differently. */
for (const header of ['x-request-id', 'etag', 'from', 'cookie', 'set-cookie']) {
  t.test(`two lines of a header of one’s own choice are refused too: ${header}`, async (t) => {
    const url = await echo(t, { header })
    t.same(JSON.parse((await raw(url, `${header}: a,b`)).body), { key: 'a,b' }, 'one line')
    for (const lines of [[`${header}: a`, `${header}: b`], [`${header}: a`, `${header.toUpperCase()}: a`]]) {
      const { status, body } = await raw(url, ...lines)
      t.equal(status, 400)
      const detail = `The header ${header} was sent 2 times: send it once`
      t.match(JSON.parse(body), { code: 'FST_IDEMPOTENCY_KEY_INVALID', detail })
    }
  })
}

/** The answer over HTTP/2 to a request that has this header once or several times. */
async function overHttp2 (url: string, header: string, value: string | string[]): ReturnType<typeof raw> {
  const session = connectHttp2(url)
  try {
    const stream = session.request({ ':method': 'POST', ':path': '/x', [header]: value })
    const headers = once(stream, 'response')
    let body = ''
    stream.setEncoding('utf8').on('data', (chunk: string) => { body += chunk })
    await once(stream.end(), 'close')
    const [{ ':status': status }] = await headers as [{ ':status': number }]
    return { status, body }
  } finally {
    session.close()
  }
}

t.test('over HTTP/2 two key fields are refused as over HTTP/1, and one with a comma in it is a key', async (t) => {
  for (const header of ['idempotency-key', 'x-request-id']) {
    // The types of an HTTP/2 app are different. Its behaviour is the same.
    const app = Fastify({ http2: true } as FastifyServerOptions) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(idempotency, { store: new MemoryStore(), scope: 'global', header })
    app.post('/x', { config: { idempotency: true } }, keyOf)
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    for (const value of ['a,b', '"a,b"']) {
      t.same(JSON.parse((await overHttp2(url, header, value)).body), { key: 'a,b' })
    }
    for (const values of [['b1', 'b2'], ['b', 'b'], ['"b1"', '"b2"'], ['"b1";v=1', '"b2"']]) {
      const { status, body } = await overHttp2(url, header, values)
      t.equal(status, 400, values.join(' and '))
      const detail = `The header ${header} was sent 2 times: send it once`
      t.match(JSON.parse(body), { code: 'FST_IDEMPOTENCY_KEY_INVALID', detail })
    }
  }
})

t.test('inject() with two values is refused as two header lines are, one with a comma in it is a key', async (t) => {
  const { app } = await build(t, { store: new MemoryStore() })
  app.post('/x', { config: { idempotency: true } }, keyOf)
  const send = (value: string | string[]) =>
    app.inject({ method: 'POST', url: '/x', headers: { 'Idempotency-Key': value as string } })
  t.same((await send('a,b')).json(), { key: 'a,b' })
  t.same((await send(['a'])).json(), { key: 'a' })
  t.match((await send(['a', 'b'])).json(), { code: 'FST_IDEMPOTENCY_KEY_INVALID', detail: /sent 2 times/ })
})

t.test('a schema that makes a number or a list of the header does not change the key', async (t) => {
  for (const type of ['integer', 'array']) {
    const { app, listen } = await build(t, { store: new MemoryStore() })
    const schema = { headers: { type: 'object', properties: { 'idempotency-key': { type } } } }
    app.post('/x', { config: { idempotency: true }, schema }, keyOf)
    const { url } = await listen()
    t.same(JSON.parse((await raw(url, 'idempotency-key: 007')).body), { key: '007' }, type)
    t.equal((await raw(url, 'idempotency-key: 7', 'idempotency-key: 8')).status, 400, `${type}, two lines`)
  }
})

t.test('a hook may give a request its key, whatever its client sent', async (t) => {
  for (const header of ['idempotency-key', 'x-request-id']) {
    const { app, listen } = await build(t, { store: new MemoryStore(), header })
    app.addHook('onRequest', async (request) => { request.headers[header] = 'of, the hook' })
    app.post('/x', { config: { idempotency: { validateKey: () => true } } }, keyOf)
    const { url } = await listen()
    for (const lines of [[], [`${header}: a`]]) {
      t.same(JSON.parse((await raw(url, ...lines)).body), { key: 'of, the hook' })
    }
  }
})

t.test('a missing key is refused with a 400 that names the header', async (t) => {
  const { status, body } = await raw(await echo(t))
  t.equal(status, 400)
  t.match(JSON.parse(body), { code: 'FST_IDEMPOTENCY_KEY_MISSING', detail: /header idempotency-key/, retryable: false })
})

t.test('a string and the same without quotes are one key', async (t) => {
  const { app, listen } = await build(t)
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  await client.post('/x', `"${UUID}"`)
  t.equal((await client.post('/x', UUID)).replayed, true)
  t.equal((await client.post('/x', `"${UUID}";a=b`)).replayed, true)
  t.equal(runs, 1)
})

t.test('every key of visible ASCII survives being quoted, and being sent bare where it has no quote', async (t) => {
  const visible = fc.string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 255
  })
  fc.assert(fc.property(visible, (key) => {
    const quoted = `"${key.replace(/["\\]/g, '\\$&')}"`
    return parseKey(quoted) === key && parseKey(`${quoted};p=1`) === key && (key.includes('"') || parseKey(key) === key)
  }))
  t.pass('no counterexample')
})

t.test('the header can have another name', async (t) => {
  const url = await echo(t, { header: 'PayPal-Request-Id' })
  t.same(JSON.parse((await raw(url, 'paypal-request-id: abc')).body), { key: 'abc' })
  t.match(JSON.parse((await raw(url, 'idempotency-key: abc')).body), {
    code: 'FST_IDEMPOTENCY_KEY_MISSING',
    detail: /header paypal-request-id/
  })
})

t.test('the key can come from elsewhere, such as a webhook’s event id, and is taken as it is', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore() })
  let runs = 0
  app.post(
    '/x',
    { config: { idempotency: { key: request => (request.body as { id?: string }).id } } },
    async request => ({ run: ++runs, key: request.idempotency?.key })
  )
  const client = await listen()
  t.same((await client.post('/x', null, { id: 'evt"7' })).json, { run: 1, key: 'evt"7' })
  t.equal((await client.post('/x', 'ignored', { id: 'evt"7' })).replayed, true)
  const missing = await client.post('/x', null, {})
  t.equal(missing.status, 400)
  t.equal(missing.json.code, 'FST_IDEMPOTENCY_KEY_MISSING')
  for (const id of ['', 'two words']) {
    t.equal((await client.post('/x', null, { id })).json.code, 'FST_IDEMPOTENCY_KEY_INVALID', JSON.stringify(id))
  }
  t.equal(runs, 1)
})

t.test('validateKey decides instead of the default rule', async (t) => {
  const url = await echo(t, { validateKey: key => key.startsWith('ok ') })
  t.equal((await raw(url, 'idempotency-key: "ok then"')).status, 200)
  t.equal((await raw(url, `idempotency-key: ${UUID}`)).status, 400)
})

t.test('where a key is not required, a request without one runs unprotected, ' +
  'and one with a bad key is still refused', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, required: false })
  const seen: unknown[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => { seen.push(request.idempotency) })
  const client = await listen()
  t.equal((await client.post('/x')).status, 200)
  t.equal((await client.post('/x')).status, 200)
  t.same(seen, [null, null])
  t.equal(app.idempotency.stats().claimed, 0)
  t.equal((await client.post('/x', '"')).status, 400)
})
