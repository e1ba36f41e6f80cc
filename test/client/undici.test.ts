import { once } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import type { Test } from 'tap'
import { Agent, Client, fetch as undiciFetch, FormData, interceptors, request, stream } from 'undici'
import type { Dispatcher } from 'undici'
import { idempotent, makeKey } from '../../plugin/client/undici.ts'
import type { IdempotentContext, RetryOptions } from '../../plugin/client/undici.ts'
import { gate, until } from '../helper.ts'
import { answer, cut, half, hang, problem, QUICK, startScript } from './helper.ts'
import type { Step } from './helper.ts'
import { startUntrusted } from './tls.ts'

function agentOf (t: Test, options: RetryOptions = {}): Dispatcher {
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  return agent.compose(idempotent({ ...QUICK, ...options }))
}

t.test('the context of an answer tells the key, the tries and whether it is a replay', async (t) => {
  const { url, seen } = await startScript(t, cut, answer(200, 'paid', { 'idempotent-replayed': 'true' }))
  const { context, body } = await request(url, { dispatcher: agentOf(t), method: 'POST', body: 'x' })
  t.equal(await body.text(), 'paid')
  const { key, tries, replayed } = (context as IdempotentContext).idempotency
  t.match({ tries, replayed }, { tries: 2, replayed: true })
  t.same(seen.map(({ headers }) => headers['idempotency-key']), [`"${key}"`, `"${key}"`])
})

t.test('headers can be written in each of the ways that undici takes', async (t) => {
  const key = makeKey()
  const forms: Array<Dispatcher.DispatchOptions['headers']> = [
    { 'x-trace': 'a', 'Idempotency-Key': key },
    { 'x-trace': ['a'], 'Idempotency-Key': key, 'x-none': undefined },
    ['x-trace', 'a', 'Idempotency-Key', key],
    [['x-trace', 'a'], ['Idempotency-Key', key]] as unknown as string[],
    new Map([['x-trace', 'a'], ['Idempotency-Key', key]])
  ]
  for (const headers of forms) {
    const { url, seen } = await startScript(t, answer(503))
    await (
      await request(url, { dispatcher: agentOf(t), method: 'POST', ...(headers !== undefined && { headers }) })
    ).body.dump()
    t.same(seen.map(({ headers }) => [headers['x-trace'], headers['idempotency-key']]), [['a', key], ['a', key]])
  }
  const { url, seen } = await startScript(t)
  await (
    await request(url, { dispatcher: agentOf(t), method: 'POST', headers: ['x-two', 'a', 'x-two', 'b'] })
  ).body.dump()
  t.match(seen[0]?.headers, { 'x-two': 'a, b', 'idempotency-key': /^"/ })
  await (await request(url, { dispatcher: agentOf(t), method: 'POST', headers: null })).body.dump()
  t.match(seen[1]?.headers['idempotency-key'], /^"/)
})

t.test('a body that cannot be sent twice the same is refused, with the reason', async (t) => {
  const { url, seen } = await startScript(t)
  const bodies = [
    Readable.from(['a']),
    new FormData(),
    new Blob(['a']).stream(),
    ['a'][Symbol.iterator]()
  ] as unknown as string[]
  for (const body of bodies) {
    await t.rejects(request(url, { dispatcher: agentOf(t), method: 'POST', body }), {
      name: 'TypeError',
      message: /a retry must send the same body/
    })
  }
  t.equal(seen.length, 0)
})

t.test('a Blob and an ArrayBuffer are sent again byte for byte', async (t) => {
  for (const body of [new Blob(['abcd']), new TextEncoder().encode('abcd').buffer] as unknown as string[]) {
    const { url, seen } = await startScript(t, cut)
    await (await request(url, { dispatcher: agentOf(t), method: 'POST', body })).body.dump()
    t.same(seen.map(({ body }) => body.toString()), ['abcd', 'abcd'])
  }
})

t.test('what the caller changes later changes neither the first try nor the next ones', async (t) => {
  const buffer = Buffer.from('amount-a')
  const bytes = new Uint8Array(buffer)
  const arrayBuffer = new Uint8Array(buffer).buffer
  const list = ['a']
  const object = { 'x-amount': 'a' }
  const flat = ['x-amount', 'a']
  const map = new Map([['x-amount', 'a']])
  for (const [method, headers, body] of [
    ['GET', object],
    ['GET', { 'x-amount': list }],
    ['GET', flat],
    ['GET', map],
    ['POST', object, buffer],
    ['POST', { 'x-amount': list }, bytes],
    ['POST', flat, arrayBuffer],
    ['POST', map, 'amount-a']
  ] as Array<[Dispatcher.HttpMethod, NonNullable<Dispatcher.DispatchOptions['headers']>, string?]>) {
    const paths: string[] = []
    const look = (status: number): Step => (request, reply) => {
      paths.push(request.url)
      return answer(status)(request, reply)
    }
    const { url, seen } = await startScript(t, look(503), look(200))
    const query = { amount: '', more: [''] }
    const options = {
      origin: new URL(url).origin,
      path: '/x',
      method,
      headers,
      query,
      ...(body !== undefined && { body })
    }
    const write = (amount: string): void => {
      for (const view of [buffer, bytes, new Uint8Array(arrayBuffer)]) view[7] = amount.charCodeAt(0)
      list[0] = object['x-amount'] = flat[1] = query.amount = query.more[0] = amount
      map.set('x-amount', amount)
    }
    write('a')
    const sent = agentOf(t).request(options)
    write('b')
    options.path = '/y'
    await (await sent).body.dump()
    t.same(paths, ['/x?amount=a&more=a', '/x?amount=a&more=a'])
    const one = ['a', body === undefined ? '' : 'amount-a']
    t.same(seen.map(({ headers, body }) => [headers['x-amount'], body.toString()]), [one, one])
  }
})

t.test('undici’s fetch works with it where there is no body', async (t) => {
  const { url, seen } = await startScript(t, cut, half, answer(200, 'paid'))
  const response = await undiciFetch(url, { dispatcher: agentOf(t), method: 'POST' })
  t.equal(await response.text(), 'paid')
  t.equal(seen.length, 3)
  await t.rejects(undiciFetch(url, { dispatcher: agentOf(t), method: 'POST', body: 'x' }), TypeError)
  t.equal(seen.length, 3)
})

t.test('a large answer is passed on as it comes, and its reader sets the pace', async (t) => {
  const size = 40_000_000
  let written = 0
  const { url } = await startScript(t, answer(503), async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    await pipeline(function * () {
      for (; written < size; written += 100_000) yield Buffer.alloc(100_000, written / 100_000)
    }, reply.raw)
  })
  const go = gate()
  let read = 0
  await stream(url, { dispatcher: agentOf(t), method: 'POST' }, () => {
    const sink = new Writable({
      write (chunk: Buffer, _encoding, done) {
        const take = () => {
          read += chunk.length
          done()
        }
        if (read === 0) void go.opened.then(take)
        else take()
      }
    })
    // The sender has stopped when the number of bytes that it wrote is the same 20 times in a row.
    let looks = 0
    let before = 0
    void until(() => {
      looks = written > 0 && written === before ? looks + 1 : 0
      before = written
      return looks === 20
    }).then(() => {
      t.ok(written < size, `stopped after ${written} bytes`)
      go.open()
    })
    return sink
  })
  t.equal(read, size)
})

t.test('a large answer that breaks off is the caller’s to see', async (t) => {
  const { url, seen } = await startScript(t, async ({ raw: { socket } }, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-length': 3_000_000 })
    reply.raw.write(Buffer.alloc(2_000_000))
    if (socket.writableLength > 0) await once(socket, 'drain')
    socket.end()
  })
  const { body } = await request(url, { dispatcher: agentOf(t), method: 'POST' })
  await t.rejects(body.text(), { code: 'UND_ERR_SOCKET' })
  t.equal(seen.length, 1)
})

t.test('a caller who leaves a large answer closes its connection', async (t) => {
  let closed = false
  const { url } = await startScript(t, ({ raw: { socket } }, reply) => {
    socket.once('close', () => { closed = true })
    reply.hijack()
    reply.raw.writeHead(200)
    reply.raw.write(Buffer.alloc(2_000_000))
  })
  const { body } = await request(url, { dispatcher: agentOf(t), method: 'POST' })
  body.on('error', () => {}).destroy()
  await until(() => closed)
})

t.test('a caller who does not read a small answer harms nothing', async (t) => {
  const { url, seen } = await startScript(t, answer(200, 'a'), answer(200, 'b'))
  const dispatcher = agentOf(t)
  const { body } = await request(url, { dispatcher, method: 'POST' })
  const failed = once(body, 'error')
  body.destroy()
  t.match(await failed, [{ code: 'UND_ERR_ABORTED' }])
  t.equal(await (await request(url, { dispatcher, method: 'POST' })).body.text(), 'b')
  t.equal(seen.length, 2)
})

t.test('a try that waits for a connection is given up in time, and never sent', async (t) => {
  const release = gate()
  const { url, seen } = await startScript(t, async () => {
    await release.opened
    return 'first'
  })
  const client = new Client(new URL(url).origin, { connections: 1, pipelining: 1 } as Client.Options)
  t.teardown(() => client.destroy())
  const first = client.request({ path: '/x', method: 'POST' })
  await until(() => seen.length === 1)
  const dispatcher = client.compose(idempotent({ ...QUICK, tryTimeout: 50, totalTimeout: 300 }))
  const error = await dispatcher.request({ path: '/x', method: 'POST' }).then(() => null, (error: unknown) => error)
  t.match(error, { name: 'RetryTimeoutError', cause: { name: 'TimeoutError' } })
  const aborted = dispatcher.request({ path: '/x', method: 'POST', signal: AbortSignal.timeout(20) })
  await t.rejects(aborted, { name: 'TimeoutError' })
  release.open()
  t.equal(await (await first).body.text(), 'first')
  t.equal(await (await client.request({ path: '/x', method: 'GET' })).body.text(), 'done')
  t.same(seen.map(({ method }) => method), ['POST', 'GET'])
})

t.test('what another try cannot mend fails at once', async (t) => {
  const { url, seen } = await startScript(t)
  const agent = new Agent()
  const dispatcher = agent.compose(idempotent())
  const { origin } = new URL(url)
  await t.rejects(dispatcher.request({ origin, path: 'no slash', method: 'POST' }), { code: 'UND_ERR_INVALID_ARG' })
  await agent.close()
  await t.rejects(dispatcher.request({ origin, path: '/x', method: 'POST' }), {
    name: 'RequestFailedError',
    outcomeUnknown: false,
    cause: { code: 'UND_ERR_DESTROYED' }
  })
  t.equal(seen.length, 0)
})

t.test('TLS that fails each time is given up at once, and nothing was carried out', async (t) => {
  const CIPHER = 'ECDHE-ECDSA-AES128-GCM-SHA256'
  const whoever = { checkServerIdentity: () => undefined }
  for (const [what, server, client, message] of [
    ['the certificate of another host', {}, {}, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ['no common version', { minVersion: 'TLSv1.3' }, { maxVersion: 'TLSv1.2', ...whoever }, /ALERT_PROTOCOL_VERSION/],
    [
      'no common cipher',
      { ciphers: CIPHER, maxVersion: 'TLSv1.2' },
      { ciphers: CIPHER.replace('ECDSA', 'RSA'), ...whoever },
      /ALERT_HANDSHAKE_FAILURE/
    ],
    ['no certificate of the client', { requestCert: true, maxVersion: 'TLSv1.2' }, whoever, /ALERT_HANDSHAKE_FAILURE/]
  ] as const) {
    const { url, cert } = await startUntrusted(t, 0, server)
    const agent = new Agent({ connect: { ca: cert, ...client } })
    t.teardown(() => agent.destroy())
    const sent = request(url.replace('127.0.0.1', 'localhost'), {
      dispatcher: agent.compose(idempotent(QUICK)),
      method: 'POST'
    })
    await t.rejects(sent, { name: 'RequestFailedError', tries: 1, outcomeUnknown: false, message }, what)
  }
})

t.test('a dispatcher that is closed between two tries ends the operation', async (t) => {
  const { url, seen } = await startScript(t, answer(503, '', { 'retry-after': '1' }))
  const agent = new Agent()
  const sent = request(url, { dispatcher: agent.compose(idempotent()), method: 'POST' }).then(
    () => null,
    (error: unknown) => error
  )
  await until(() => seen.length === 1)
  await agent.close()
  t.match(await sent, {
    name: 'RequestFailedError',
    tries: 2,
    outcomeUnknown: true,
    cause: { code: 'UND_ERR_DESTROYED' }
  })
  t.equal(seen.length, 1)
})

t.test('it goes together with other interceptors, inside and outside', async (t) => {
  const { url, seen } = await startScript(
    t,
    answer(302, '', { location: '/x?moved' }),
    answer(503),
    answer(422, 'no'),
    answer(422, 'no')
  )
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  const { redirect, responseError } = interceptors
  const inside = agent.compose(redirect({ maxRedirections: 2 }), idempotent(QUICK))
  const { statusCode, context } = await request(url, { dispatcher: inside, method: 'PUT', body: 'x' })
  t.equal(statusCode, 422)
  t.match(context, { history: [{ pathname: '/x' }], idempotency: { tries: 2 } })
  t.equal(seen.length, 3)
  for (const dispatcher of [
    agent.compose(responseError(), idempotent(QUICK)),
    agent.compose(idempotent(QUICK), responseError())
  ]) {
    const { url, seen } = await startScript(t, answer(422, 'no'))
    await t.rejects(request(url, { dispatcher, method: 'POST' }), { code: 'UND_ERR_RESPONSE', statusCode: 422 })
    t.equal(seen.length, 1)
  }
})

t.test('the headers of an answer in raw form are those of the last try', async (t) => {
  const { url } = await startScript(t, answer(503, '', { 'x-try': '1' }), answer(200, '', { 'x-try': '2' }))
  const { headers } = await request(url, { dispatcher: agentOf(t), method: 'POST', responseHeaders: 'raw' })
  const raw = headers as unknown as string[]
  t.equal(raw[raw.indexOf('x-try') + 1], '2')
})

t.test('when the time is over, the last answer is the cause', async (t) => {
  const { url } = await startScript(t, problem(409, { code: 'FST_IDEMPOTENCY_IN_PROGRESS', retryable: true }), hang)
  const sent = request(url, {
    dispatcher: agentOf(t, { totalTimeout: 3_000, firstDelay: 2_000_000_000, maxDelay: 2_000_000_000 }),
    method: 'POST'
  })
  await t.rejects(sent, {
    name: 'RetryTimeoutError',
    outcomeUnknown: true,
    cause: { statusCode: 409, headers: { 'content-type': 'application/problem+json' }, body: /IN_PROGRESS/ }
  })
})

t.test('an upgrade is none of its business', async (t) => {
  const { url, seen } = await startScript(t, answer(503))
  const { origin } = new URL(url)
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  await t.rejects(
    agent.compose(idempotent(QUICK)).upgrade({ origin, path: '/x', method: 'GET' } as Dispatcher.UpgradeOptions)
  )
  t.equal(seen.length, 1)
})
