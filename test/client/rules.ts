import { once } from 'node:events'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import { RequestFailedError, RetryTimeoutError } from '../../plugin/client/index.ts'
import { putClockForward } from '../clock.ts'
import { until } from '../helper.ts'
import { freePort } from '../servers/port.ts'
import { answer, cut, half, hang, problem, startScript } from './helper.ts'
import type { SendRetrying } from './helper.ts'
import { startUntrusted } from './tls.ts'

const UUID_STRING = /^"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"$/

/** The error of an operation that must not succeed. */
async function errorOf (sent: Promise<unknown>): Promise<unknown> {
  return sent.then(() => { throw new Error('it succeeded') }, (error: unknown) => error)
}

async function timeoutOf (t: Test, sent: Promise<unknown>): Promise<RetryTimeoutError> {
  const error = await errorOf(sent)
  if (!(error instanceof RetryTimeoutError)) throw error
  t.equal(error.code, 'FST_IDEMPOTENCY_RETRY_TIMEOUT')
  return error
}

/** The error of an operation that is given up although there was time. */
async function failureOf (t: Test, sent: Promise<unknown>): Promise<RequestFailedError> {
  const error = await errorOf(sent)
  if (!(error instanceof RequestFailedError) || error instanceof RetryTimeoutError) throw error
  t.equal(error.code, 'FST_IDEMPOTENCY_REQUEST_FAILED')
  return error
}

/** The rules that the fetch wrapper and the undici interceptor share. */
export function testRules (t: Test, send: SendRetrying): void {
  t.test('an operation has one key, sent as a quoted string with every try, and the same body', async (t) => {
    const { url, seen } = await startScript(t, cut, answer(503), answer(503))
    const answered = await send(url, { body: '{"amount":1}', headers: { 'content-type': 'application/json' } })
    t.match(answered, { status: 200, text: 'done', tries: 4, replayed: false })
    t.equal(seen.length, 4)
    const value = seen[0]?.headers['idempotency-key']
    t.match(value, UUID_STRING)
    t.equal(value, `"${answered.key}"`)
    for (const { headers, body } of seen) {
      t.equal(headers['idempotency-key'], value)
      t.equal(headers['content-type'], 'application/json')
      t.equal(body.toString(), '{"amount":1}')
    }
    t.not((await send(url)).key, answered.key, 'the next operation has another')
  })

  for (const status of [425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530]) {
    t.test(`${status} is tried again`, async (t) => {
      const { url, seen } = await startScript(t, answer(status, 'not now'))
      t.match(await send(url), { status: 200, tries: 2 })
      t.equal(seen.length, 2)
    })
  }

  for (const status of [201, 204, 302, 400, 401, 404, 408, 410, 422, 500, 501, 505, 511]) {
    t.test(`${status} is the final answer`, async (t) => {
      const { url, seen } = await startScript(
        t,
        answer(status, status === 204 ? undefined : 'this is it', { 'retry-after': '0' })
      )
      t.match(await send(url), { status, text: status === 204 ? '' : 'this is it', tries: 1 })
      t.equal(seen.length, 1)
    })
  }

  t.test('409 is tried again while the first request is in progress', async (t) => {
    const { url, seen } = await startScript(t, problem(409, { code: 'FST_IDEMPOTENCY_IN_PROGRESS' }))
    t.match(await send(url), { status: 200, tries: 2 })
    t.equal(seen.length, 2)
  })

  t.test('409 is tried again if the problem says that it can be', async (t) => {
    const { url, seen } = await startScript(t, problem(409, { code: 'ORDER_IN_PROGRESS', retryable: true }))
    t.match(await send(url), { status: 200, tries: 2 })
    t.equal(seen.length, 2)
  })

  for (const [what, step] of [
    ['a problem that cannot be retried', problem(409, { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', retryable: false })],
    ['a problem that does not say', problem(409, { code: 'ORDER_NOT_PAYABLE' })],
    ['text', answer(409, 'FST_IDEMPOTENCY_IN_PROGRESS')],
    ['JSON that is no object', answer(409, 'null')],
    ['nothing', answer(409)]
  ] as const) {
    t.test(`any other 409 is the final answer, and can be read: ${what}`, async (t) => {
      const { url, seen } = await startScript(t, step)
      const answered = await send(url)
      t.match(answered, { status: 409, tries: 1 })
      t.equal(answered.text.length, Number(answered.header('content-length')))
      t.equal(seen.length, 1)
    })
  }

  for (const [what, body, headers] of [
    ['a page', '<html><h1>Internal Server Error</h1></html>', { 'content-type': 'text/html' }],
    ['XML', '<Error><Code>InternalError</Code></Error>', { 'content-type': 'application/xml' }],
    ['nothing', '', {}]
  ] as const) {
    for (const status of [408, 500]) {
      t.test(`${status} with ${what} is a proxy's, and tried again`, async (t) => {
        const { url, seen } = await startScript(t, (_request, reply) => {
          // Fastify would give an empty body the content type of text.
          reply.hijack()
          reply.raw.writeHead(status, { ...headers, 'content-length': body.length }).end(body)
        })
        t.match(await send(url), { status: 200, tries: 2 })
        t.equal(seen.length, 2)
      })
    }
  }

  for (const type of [
    'application/json; charset=utf-8',
    'application/problem+json',
    'text/plain; charset=utf-8',
    'Text/Plain'
  ]) {
    for (const status of [408, 500]) {
      t.test(`${status} with ${type} is the service's, and final`, async (t) => {
        const { url, seen } = await startScript(
          t,
          answer(status, '{"statusCode":500,"error":"Internal Server Error"}', { 'content-type': type })
        )
        t.match(await send(url), { status, tries: 1 })
        t.equal(seen.length, 1)
      })
    }
  }

  t.test('a service that says whether its failure can be retried is believed, whatever the status', async (t) => {
    const again = await startScript(t, problem(500, { retryable: true }), problem(503, { retryable: true }))
    t.match(await send(again.url), { status: 200, tries: 3 })
    for (const status of [429, 500, 502, 503]) {
      const never = await startScript(t, problem(status, { retryable: false }))
      t.match(await send(never.url), { status, tries: 1 })
    }
  })

  t.test('a replay is final even if it is a 503: the next one would be the same', async (t) => {
    for (const [status, body] of [[429, ''], [500, '<html></html>'], [503, '{"retryable":true}']] as const) {
      const { url, seen } = await startScript(
        t,
        cut,
        answer(status, body, { 'content-type': 'text/html', 'idempotent-replayed': 'true' })
      )
      t.match(await send(url), { status, tries: 2, replayed: true })
      t.equal(seen.length, 2)
    }
  })

  t.test('a connection that breaks before the answer, or in the middle of it, is another try', async (t) => {
    const { url, seen } = await startScript(t, cut, half, cut)
    t.match(await send(url), { status: 200, text: 'done', tries: 4 })
    t.equal(seen.length, 4)
  })

  t.test('a try that takes too long is given up, and the next one gets the answer', async (t) => {
    const { url, seen } = await startScript(t, hang)
    const start = performance.now()
    t.match(await send(url, {}, { tryTimeout: 1_000 }), { status: 200, tries: 2 })
    t.equal(seen.length, 2)
    t.ok((seen[1]?.at ?? 0) - start >= 990, 'not before its time')
  })

  t.test('a replay is told from a first answer', async (t) => {
    const { url } = await startScript(t, cut, answer(200, 'paid', { 'idempotent-replayed': 'true' }))
    t.match(await send(url), { text: 'paid', replayed: true, tries: 2 })
  })

  t.test('Retry-After in seconds is waited for', async (t) => {
    const { url, seen } = await startScript(t, answer(429, '', { 'retry-after': '1' }))
    t.match(await send(url), { status: 200, tries: 2 })
    t.ok((seen[1]?.at ?? 0) - (seen[0]?.at ?? 0) >= 990)
  })

  t.test('Retry-After as a date is waited for, by the clock of the server', async (t) => {
    const slow = Date.now() - 3_600_000
    const date = (milliseconds: number) => new Date(milliseconds).toUTCString()
    const { url, seen } = await startScript(t, answer(503, '', { date: date(slow), 'retry-after': date(slow + 1_000) }))
    t.match(await send(url), { status: 200, tries: 2 })
    t.ok((seen[1]?.at ?? 0) - (seen[0]?.at ?? 0) >= 990)
  })

  t.test('when Retry-After is longer than the time that is left, the operation ends at once', async (t) => {
    const { url, seen } = await startScript(t, answer(429, 'slow down', { 'retry-after': '3600' }))
    const start = performance.now()
    const error = await timeoutOf(t, send(url))
    t.ok(performance.now() - start < 3_600_000, 'not after an hour')
    t.match(error, { tries: 1, outcomeUnknown: false, message: /status 429/ })
    t.equal(seen[0]?.headers['idempotency-key'], `"${error.key}"`)
    t.match(error.cause, { headers: Object })
  })

  t.test('when the total time is over, the error carries the key, and with that the operation goes on', async (t) => {
    const { url, seen } = await startScript(t, ...Array<typeof hang>(500).fill(answer(502, 'bad gateway')))
    const start = performance.now()
    const error = await timeoutOf(t, send(url, {}, { totalTimeout: 3_000, firstDelay: 100, maxDelay: 100 }))
    t.ok(performance.now() - start >= 2_850, 'it went on until there was no time for another try')
    // The last try may have been given up before it was sent.
    t.ok(
      seen.length === error.tries || (seen.length === error.tries - 1 && error.cause instanceof DOMException),
      `${seen.length} requests`
    )
    t.ok(error.tries >= 3, `${error.tries} tries`)
    t.equal(error.outcomeUnknown, true)
    const recovered = await startScript(t)
    t.match(await send(recovered.url, { headers: { 'Idempotency-Key': `"${error.key}"` } }), {
      status: 200,
      key: error.key
    })
    t.equal(recovered.seen[0]?.headers['idempotency-key'], seen[0]?.headers['idempotency-key'])
  })

  t.test('the error of an operation whose time is over does not show the key to who logs it', async (t) => {
    const { url } = await startScript(t, answer(429, '', { 'retry-after': '3600' }))
    const error = await timeoutOf(t, send(url))
    t.ok(error.key)
    for (const logged of [
      inspect(error, { depth: 9 }),
      JSON.stringify({ ...error }),
      error.message,
      String(error.stack)
    ]) {
      t.notOk(logged.includes(error.key ?? ''))
    }
  })

  t.test('the total time also ends a try that is under way; what became of it is not known', async (t) => {
    const { url, seen } = await startScript(t, answer(429), hang)
    const error = await timeoutOf(t, send(url, {}, { totalTimeout: 5_000 }))
    t.match(error, { tries: 2, outcomeUnknown: true, cause: { name: 'TimeoutError' } })
    t.equal(seen.length, 2)
  })

  t.test('a wait that took longer than it should leaves no time for a try: none is begun', async (t) => {
    const forward = putClockForward(t)
    const { url, seen } = await startScript(t, (request, reply) => {
      // The client is in this process: when its wait ends, more time has passed than it had.
      setTimeout(() => forward(60_000), 500)
      return answer(429, '', { 'retry-after': '1' })(request, reply)
    })
    const error = await timeoutOf(t, send(url, {}, { totalTimeout: 30_000, firstDelay: 0 }))
    t.match(error, { tries: 1, outcomeUnknown: false, message: /status 429/ })
    t.equal(seen.length, 1)
  })

  t.test('what was refused before anything ran has a known outcome, whatever else a 503 may mean', async (t) => {
    const late = { 'retry-after': '3600', 'content-type': 'application/problem+json' }
    const store = await startScript(t, answer(503, '{"code":"FST_IDEMPOTENCY_STORE_UNAVAILABLE"}', late))
    t.equal((await timeoutOf(t, send(store.url))).outcomeUnknown, false)
    const other = await startScript(t, answer(503, '{"code":"OVERLOADED"}', late))
    t.equal((await timeoutOf(t, send(other.url))).outcomeUnknown, true)
    const first = await startScript(t, cut, answer(429, '', late))
    t.equal((await timeoutOf(t, send(first.url))).outcomeUnknown, true, 'an earlier try counts')
  })

  t.test('a server that cannot be reached is tried until the time is over', async (t) => {
    const error = await timeoutOf(t, send(`http://127.0.0.1:${await freePort()}/x`, {}, { totalTimeout: 3_000 }))
    t.ok(error.tries > 1)
    t.match(error, { outcomeUnknown: true, cause: Error })
  })

  t.test('an untrusted certificate fails at once: the error names it, and nothing was carried out', async (t) => {
    const server = await startUntrusted(t)
    const error = await failureOf(t, send(server.url))
    t.match(error, {
      tries: 1,
      outcomeUnknown: false,
      cause: Error,
      message: /DEPTH_ZERO_SELF_SIGNED_CERT: self-signed certificate.*\. Nothing was carried out/
    })
    t.match(error.key, /^[0-9a-f-]{36}$/)
    t.equal(server.requests, 0)
  })

  t.test('https: where there is no TLS fails at once', async (t) => {
    const { url, seen } = await startScript(t)
    t.match(await failureOf(t, send(url.replace('http:', 'https:'))), {
      tries: 1,
      outcomeUnknown: false,
      message: /WRONG_VERSION_NUMBER|PACKET_LENGTH/
    })
    t.equal(seen.length, 0)
  })

  t.test('what fails at once after a try that may have been carried out has an unknown outcome', async (t) => {
    const server = await startUntrusted(t, 1)
    const error = await failureOf(t, send(server.url))
    t.match(error, { tries: 2, outcomeUnknown: true, message: /The outcome is unknown: go on with the same key/ })
    t.notOk(inspect(error, { depth: 9 }).includes(error.key ?? ''), 'who logs it does not see the key')
  })

  t.test('a caller who aborts during a try gets the reason, and the connection is closed', async (t) => {
    let closed: Promise<unknown> | undefined
    const { url, seen } = await startScript(t, (request, reply) => {
      closed = once(request.raw.socket, 'close')
      reply.hijack()
    })
    const abort = new AbortController()
    const sent = errorOf(send(url, { signal: abort.signal }))
    await until(() => seen.length === 1)
    abort.abort(new Error('the customer left'))
    t.match(await sent, { message: 'the customer left' })
    await closed
    t.equal(seen.length, 1)
  })

  t.test('a caller who aborts between two tries gets the reason, and nothing more is sent', async (t) => {
    const abort = new AbortController()
    const later = answer(503, '', { 'retry-after': '1' })
    const { url, seen } = await startScript(t, later, later)
    const sent = errorOf(send(url, { signal: abort.signal }, { firstDelay: 0 }))
    await until(() => seen.length === 1)
    abort.abort(new Error('the customer left'))
    t.match(await sent, { message: 'the customer left' })
    t.equal(seen.length, 1)
    // Another operation waits for the same time. When it is done, the first one would have ended its wait too.
    const { key, tries } = await send(url)
    t.equal(tries, 2)
    t.same(seen.slice(1).map(({ headers }) => headers['idempotency-key']), [`"${key}"`, `"${key}"`])
  })

  t.test('a caller who has aborted before sends nothing', async (t) => {
    const { url, seen } = await startScript(t)
    t.match(await errorOf(send(url, { signal: AbortSignal.abort(new Error('never mind')) })), { message: 'never mind' })
    t.equal((await send(url)).status, 200)
    t.equal(seen.length, 1)
  })

  t.test('GET needs no key, and is tried again without one', async (t) => {
    const { url, seen } = await startScript(t, cut, answer(503))
    t.match(await send(url, { method: 'GET' }), { status: 200, text: 'done', key: null, tries: 3 })
    t.same(seen.map(({ headers }) => headers['idempotency-key']), [undefined, undefined, undefined])
  })

  for (const method of ['PUT', 'PATCH', 'DELETE'] as const) {
    t.test(`${method} has a key`, async (t) => {
      const { url, seen } = await startScript(t)
      await send(url, { method })
      t.match(seen, [{ method, headers: { 'idempotency-key': UUID_STRING } }])
    })
  }

  t.test('a key that the request carries already is kept as it was written', async (t) => {
    for (const [value, key] of [['pay-7', 'pay-7'], ['"pay\\"7\\""', 'pay"7"'], ['"7"; a=1', '7']] as const) {
      const { url, seen } = await startScript(t, answer(503))
      t.match(await send(url, { headers: { 'Idempotency-Key': value } }), { key, tries: 2 })
      t.same(seen.map(({ headers }) => headers['idempotency-key']), [value, value])
    }
  })

  t.test('a key in the request that is malformed is refused before anything is sent', async (t) => {
    const { url, seen } = await startScript(t)
    for (const value of ['"', '"a" b', '""', 'a"b', '"\\a"']) {
      t.match(await errorOf(send(url, { headers: { 'idempotency-key': value } })), {
        name: 'IdempotencyOptionError',
        message: /idempotency-key is malformed/
      })
    }
    t.equal(seen.length, 0)
  })

  t.test('a key that the server would refuse is not sent but refused, unless "validateKey" takes it', async (t) => {
    const { url, seen } = await startScript(t)
    for (const [value, key] of [
      ['"say 7"', 'say 7'],
      ['say 7', 'say 7'],
      ['k'.repeat(300), 'k'.repeat(300)]
    ] as const) {
      const headers = { 'idempotency-key': value }
      const error = await errorOf(send(url, { headers }))
      t.match(error, {
        name: 'IdempotencyOptionError',
        message:
          /the key in the request's header idempotency-key is not one that the server takes: by default 1 to 255 visible ASCII characters/
      })
      t.notOk(inspect(error).includes(key), 'the error does not show it')
      t.equal(seen.length, 0)
      t.equal((await send(url, { headers }, { validateKey: key => key.length < 400 })).key, key)
      seen.length = 0
    }
    t.equal((await send(url, { headers: { 'idempotency-key': `"${'k'.repeat(255)}"` } })).status, 200)
  })

  t.test('the key can travel in another header', async (t) => {
    const { url, seen } = await startScript(t)
    const { key } = await send(url, {}, { header: 'PayPal-Request-Id' })
    t.match(seen[0]?.headers, { 'paypal-request-id': `"${key}"`, 'idempotency-key': undefined })
  })

  t.test('retries use the connection again: answers that are not final are read to their end', async (t) => {
    const { url, seen } = await startScript(
      t,
      answer(503, 'x'.repeat(200_000)),
      answer(429, 'x'),
      problem(409, { retryable: true })
    )
    t.equal((await send(url)).tries, 4)
    t.equal(new Set(seen.map(({ port }) => port)).size, 1)
  })

  t.test('an answer that is larger than what is waited for arrives whole', async (t) => {
    const body = Buffer.alloc(3_000_001, 'äöü')
    const { url, seen } = await startScript(t, answer(503, body), answer(200, body, { 'content-type': 'text/plain' }))
    const { text, tries } = await send(url)
    t.ok(text === body.toString(), 'the same bytes')
    t.equal(tries, 2)
    t.equal(seen.length, 2)
  })

  t.test('an empty body and one of bytes are sent as they are', async (t) => {
    const { url, seen } = await startScript(t, cut, answer(200), cut)
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    await send(url)
    await send(url, { body: bytes, headers: { 'content-type': 'application/octet-stream' } })
    t.same(seen.map(({ body }) => body.length), [0, 0, 256, 256])
    t.ok(seen[3]?.body.equals(bytes))
  })
}
