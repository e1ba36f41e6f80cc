import { Readable } from 'node:stream'
import nodeFetch, { File as NodeFetchFile, FormData as NodeFetchFormData } from 'node-fetch'
import t from 'tap'
import type { Test } from 'tap'
import * as undici from 'undici'
import { idempotentFetch, makeKey } from '../../plugin/client/index.ts'
import type { IdempotentRequestInit } from '../../plugin/client/index.ts'
import { putClockForward } from '../clock.ts'
import { gate, until } from '../helper.ts'
import { answer, cut, half, hang, QUICK, startScript } from './helper.ts'
import type { Seen, Step } from './helper.ts'
import { startUntrusted } from './tls.ts'

const fetchOnce = idempotentFetch(QUICK)

t.test('a key that is given is used, so that an operation goes on after a crash', async (t) => {
  const { url, seen } = await startScript(t, cut)
  const key = makeKey()
  const { idempotency } = await fetchOnce(url, { method: 'POST', idempotencyKey: key })
  t.same(idempotency, { key, tries: 2, replayed: false })
  t.same(seen.map(({ headers }) => headers['idempotency-key']), [`"${key}"`, `"${key}"`])
})

t.test('quotes and backslashes of a key are escaped', async (t) => {
  const { url, seen } = await startScript(t)
  await fetchOnce(url, { method: 'POST', idempotencyKey: 'a"b\\c' })
  t.equal(seen[0]?.headers['idempotency-key'], '"a\\"b\\\\c"')
})

t.test('a key that is given goes with a GET too', async (t) => {
  const { url, seen } = await startScript(t)
  t.equal((await fetchOnce(url, { idempotencyKey: 'k' })).idempotency.key, 'k')
  t.equal(seen[0]?.headers['idempotency-key'], '"k"')
})

const BODIES: Array<[string, () => NonNullable<RequestInit['body']>, RegExp | undefined, number | undefined]> = [
  ['text', () => 'äöü', /^text\/plain/, 6],
  ['bytes', () => new Uint8Array(70_000).fill(7), undefined, 70_000],
  ['a buffer', () => new Uint8Array([1, 2, 3]).buffer, undefined, 3],
  ['a Blob', () => new Blob(['abcd'], { type: 'text/csv' }), /^text\/csv/, 4],
  [
    'a URL-encoded form',
    () => new URLSearchParams({ amount: '1', to: 'a b' }),
    /^application\/x-www-form-urlencoded/,
    15
  ],
  ['a form with files', () => {
    const form = new FormData()
    form.set('file', new Blob(['abcd']), 'a.txt')
    return form
  }, /^multipart\/form-data; boundary=/, undefined]
]

for (const [what, body, contentType, length] of BODIES) {
  t.test(`${what} is sent again byte for byte`, async (t) => {
    const { url, seen } = await startScript(t, cut, answer(503))
    const { idempotency } = await fetchOnce(url, {
      method: 'POST',
      body: body(),
      headers: contentType === undefined ? { 'content-type': 'application/octet-stream' } : {}
    })
    t.equal(idempotency.tries, 3)
    const [first, ...retries] = seen
    t.match(first?.headers['content-type'], contentType ?? 'application/octet-stream')
    t.equal(first?.body.length, length ?? Number(first?.headers['content-length']))
    t.equal(retries.length, 2)
    for (const retry of retries) {
      t.ok(retry.body.equals(first?.body ?? Buffer.alloc(0)))
      t.equal(retry.headers['content-type'], first?.headers['content-type'])
    }
  })
}

for (const [what, body] of BODIES) {
  for (const status of [307, 308]) {
    t.test(`${what} goes where a ${status} sends it, and again if that fails`, async (t) => {
      const to = answer(status, '', { location: '/x?moved' })
      const { url, seen } = await startScript(t, to, answer(503), to)
      const { status: final, idempotency } = await fetchOnce(url, { method: 'POST', body: body() })
      t.match({ final, tries: idempotency.tries }, { final: 200, tries: 2 })
      const [first, ...others] = seen
      t.equal(others.length, 3)
      for (const other of others) t.ok(other.body.equals(first?.body ?? Buffer.alloc(0)))
      t.ok((first?.body.length ?? 0) > 0)
    })
  }
}

t.test('the body of a Request goes where a 307 sends it', async (t) => {
  const { url, seen } = await startScript(t, answer(307, '', { location: '/x?moved' }))
  t.equal((await fetchOnce(new Request(url, { method: 'POST', body: new Uint8Array([1, 2, 3]) }))).status, 200)
  t.same(seen.map(({ body }) => [...body]), [[1, 2, 3], [1, 2, 3]])
})

t.test('what the caller does to the bytes later does not change the retries', async (t) => {
  const { url, seen } = await startScript(t, answer(503, '', { 'retry-after': '1' }))
  const body = new Uint8Array([1, 2, 3])
  const sent = fetchOnce(url, { method: 'POST', body, headers: { 'content-type': 'application/octet-stream' } })
  await until(() => seen.length === 1)
  body.fill(0)
  await sent
  t.same(seen.map(({ body }) => [...body]), [[1, 2, 3], [1, 2, 3]])
})

const bytes = new Uint8Array(8)
const buffer = Buffer.alloc(8)
const arrayBuffer = new ArrayBuffer(8)
const form = new URLSearchParams()
const platformForm = new FormData()
const undiciForm = new undici.FormData()
const nodeFetchForm = new NodeFetchFormData()
const REUSED_BODIES = [
  ['a Uint8Array', bytes, (amount: string) => { bytes.set(Buffer.from(amount)) }],
  ['a Buffer', buffer, (amount: string) => { buffer.write(amount) }],
  ['an ArrayBuffer', arrayBuffer, (amount: string) => { Buffer.from(arrayBuffer).write(amount) }],
  ['a URLSearchParams', form, (amount: string) => { form.set('amount', amount) }],
  ['a FormData', platformForm, (amount: string) => { platformForm.set('amount', amount) }],
  ['a FormData of undici', undiciForm, (amount: string) => {
    undiciForm.set('file', new File(['abcd'], 'a.txt'))
    undiciForm.delete('amount')
    undiciForm.set('amount', amount)
  }],
  ['a FormData of node-fetch', nodeFetchForm, (amount: string) => {
    nodeFetchForm.set('file', new NodeFetchFile(['abcd'], 'a.txt'))
    nodeFetchForm.delete('amount')
    nodeFetchForm.set('amount', amount)
  }]
] as const

/** Three operations at once, some of which need retries: `init` makes each of them from the same objects. */
async function sendThree (t: Test, init: (amount: string) => IdempotentRequestInit): Promise<Seen[]> {
  const { url, seen } = await startScript(t, answer(503), answer(503), answer(503))
  const amounts = ['amount-0', 'amount-1', 'amount-2']
  await Promise.all(amounts.map(amount => fetchOnce(url, { method: 'POST', ...init(amount) })))
  t.equal(seen.length, 6)
  return seen
}

const headers = new Headers()
const object: Record<string, string> = {}
const list = [['idempotency-key', ''], ['x-amount', '']] as [[string, string], [string, string]]
for (const [what, init] of [
  ['a Headers', (amount: string) => {
    headers.set('idempotency-key', amount)
    headers.set('x-amount', amount)
    return { headers, body: amount }
  }],
  [
    'a plain object',
    (amount: string) => ({
      headers: Object.assign(object, { 'idempotency-key': amount, 'x-amount': amount }),
      body: amount
    })
  ],
  ['a list of pairs', (amount: string) => {
    for (const pair of list) pair[1] = amount
    return { headers: list, body: amount }
  }],
  ['a Headers, with the form of another package', (amount: string) => {
    headers.set('idempotency-key', amount)
    headers.set('x-amount', amount)
    const body = new NodeFetchFormData()
    body.set('file', new NodeFetchFile([amount], 'a.txt'))
    return { headers, body }
  }]
] as const) {
  t.test(`headers that are changed for the next request stay as they were: ${what}`, async (t) => {
    const seen = await sendThree(t, init)
    for (const { headers, body } of seen) {
      t.equal(headers['x-amount'], headers['idempotency-key'])
      t.ok(body.includes(headers['idempotency-key'] as string))
    }
    t.equal(new Set(seen.map(({ headers }) => headers['idempotency-key'])).size, 3)
  })
}

for (const [what, body, change] of REUSED_BODIES) {
  t.test(`a body that is changed for the next request stays as it was: ${what}`, async (t) => {
    const seen = await sendThree(t, (amount) => {
      change(amount)
      return { body, headers: { 'idempotency-key': amount } }
    })
    for (const { headers, body } of seen) t.ok(body.includes(headers['idempotency-key'] as string))
    t.equal(new Set(seen.map(({ headers }) => headers['idempotency-key'])).size, 3)
  })
}

t.test('a URL that is changed for the next request stays as it was', async (t) => {
  const urls: string[] = []
  const look: Step = async (request, reply) => {
    urls.push(request.url)
    await reply.code(urls.length > 3 ? 200 : 503).send()
  }
  const { url } = await startScript(t, ...Array<Step>(6).fill(look))
  const target = new URL(url)
  await Promise.all(['1', '2', '3'].map((amount) => {
    target.search = amount
    return fetchOnce(target, { method: 'POST' })
  }))
  t.equal(urls.length, 6)
  t.equal(new Set(urls).size, 3)
})

t.test('a stream is refused, with the reason', async (t) => {
  const { url, seen } = await startScript(t)
  for (const body of [
    new Blob(['a']).stream(),
    Readable.from(['a']),
    (async function * () {
      yield new Uint8Array(1)
    })()
  ]) {
    const init = { method: 'POST', body, duplex: 'half' } as unknown as RequestInit
    await t.rejects(fetchOnce(url, init), { name: 'TypeError', message: /a stream can be sent only once/ })
  }
  t.equal(seen.length, 0)
})

t.test('what would be sent as "[object Object]" is refused, with what to do; ' +
  'what has a text is sent as that', async (t) => {
  const { url, seen } = await startScript(t)
  const send = (body: unknown): Promise<unknown> => fetchOnce(url, { method: 'POST', body: body as string })
  await t.rejects(send({ amount: 1 }), {
    name: 'TypeError',
    message: /got an object: JSON\.stringify\(\) makes JSON of it/
  })
  await t.rejects(send(new Map()), { name: 'TypeError', message: /got a value of type Map/ })
  t.equal(seen.length, 0)
  await send(new URL('https://example.org/a'))
  await send(7)
  t.same(seen.map(({ body }) => body.toString()), ['https://example.org/a', '7'])
})

t.test('a Request is sent with all that it says, as often as needed', async (t) => {
  const { url, seen } = await startScript(t, cut, answer(503))
  const request = new Request(url, {
    method: 'PUT',
    body: '{"a":1}',
    headers: { 'content-type': 'application/json', 'x-trace': '7' }
  })
  const response = await fetchOnce(request)
  t.equal(response.idempotency.tries, 3)
  t.equal(response.url, url)
  for (const { method, headers, body } of seen) {
    t.match(
      { method, headers, body: body.toString() },
      {
        method: 'PUT',
        headers: { 'content-type': 'application/json', 'x-trace': '7', 'idempotency-key': /^"/ },
        body: '{"a":1}'
      }
    )
  }
})

t.test('a Request with an empty body, and one whose init says otherwise', async (t) => {
  const { url, seen } = await startScript(t, cut, answer(200), cut)
  await fetchOnce(new Request(url, { method: 'POST', body: '' }))
  await fetchOnce(new Request(url, { method: 'POST', body: 'old' }), {
    method: 'PATCH',
    body: 'new',
    headers: { 'content-type': 'text/plain' }
  })
  t.same(
    seen.map(({ method, body }) => [method, body.toString()]),
    [
      ['POST', ''],
      ['POST', ''],
      ['PATCH', 'new'],
      ['PATCH', 'new']
    ]
  )
})

t.test('the signal of a Request is honoured', async (t) => {
  const { url, seen } = await startScript(t, hang)
  const abort = new AbortController()
  const sent = fetchOnce(new Request(url, { method: 'POST', signal: abort.signal }))
  await until(() => seen.length === 1)
  abort.abort(new Error('the customer left'))
  await t.rejects(sent, { message: 'the customer left' })
  t.equal(seen.length, 1)
})

t.test('what can never be sent is not tried again', async (t) => {
  const never = idempotentFetch({ fetch: async () => { throw new Error('it was tried') } })
  await t.rejects(never('not a URL', { method: 'POST' }), TypeError)
  await t.rejects(never('ftp://127.0.0.1/x', { method: 'POST' }), {
    name: 'TypeError',
    message: /only http: and https:/
  })
  await t.rejects(never('http://127.0.0.1/x', { method: 'POST', mode: 'no-cors' }), {
    name: 'TypeError',
    message: /'no-cors'/
  })
  await t.rejects(never('http://127.0.0.1/x', { method: 'GET', body: 'x' }), TypeError)
  await t.rejects(never('http://127.0.0.1/x', { method: 'POST', headers: { 'bad name': 'x' } }), TypeError)
})

t.test('another fetch can send the tries', async (t) => {
  const { url, seen } = await startScript(t, cut)
  const response = await idempotentFetch({ ...QUICK, fetch: undici.fetch as unknown as typeof fetch })(url, {
    method: 'POST',
    body: 'x'
  })
  t.match(response.idempotency, { tries: 2 })
  t.equal(await response.text(), 'done')
  t.same(seen.map(({ body }) => body.toString()), ['x', 'x'])
})

t.test('a port that fetch does not connect to fails at once, and nothing was carried out', async (t) => {
  await t.rejects(fetchOnce('http://127.0.0.1:1/x', { method: 'POST' }),
    { name: 'RequestFailedError', tries: 1, outcomeUnknown: false, message: /bad port/ })
})

t.test('a redirection that the caller does not want fails at once, also where its Request says so', async (t) => {
  for (const [status, outcomeUnknown] of [[301, true], [302, true], [303, true], [307, false], [308, false]] as const) {
    const redirect = 'error'
    for (const send of [
      (url: string) => fetchOnce(url, { method: 'POST', redirect }),
      (url: string) => fetchOnce(new Request(url, { method: 'POST', redirect }))
    ]) {
      const { url, seen } = await startScript(t, answer(status, '', { location: '/x?moved' }))
      await t.rejects(send(url), {
        name: 'RequestFailedError',
        tries: 1,
        outcomeUnknown,
        message: new RegExp(`redirects with status ${status}, and the option "redirect" is 'error'`)
      })
      t.equal(seen.length, 1)
    }
  }
  const { url } = await startScript(t, answer(302, '', { location: '/x?moved' }))
  t.equal((await fetchOnce(url, { method: 'POST', redirect: 'manual' })).status, 302)
})

t.test('an endless redirection fails at once', async (t) => {
  const { url, seen } = await startScript(t, ...Array<typeof hang>(50).fill(answer(302, '', { location: '/x' })))
  await t.rejects(fetchOnce(url, { method: 'POST' }), {
    name: 'RequestFailedError',
    tries: 1,
    outcomeUnknown: true,
    message: /redirect count exceeded/
  })
  t.ok(seen.length < 50)
})

t.test('what was redirected to a server that is not trusted may have been carried out before', async (t) => {
  const untrusted = await startUntrusted(t)
  const to = answer(303, '', { location: untrusted.url })
  const { url, seen } = await startScript(t, to, to)
  // The request is sent once more without following redirects, to see whether the first server had received it.
  await t.rejects(fetchOnce(url, { method: 'POST' }), {
    name: 'RequestFailedError',
    tries: 2,
    outcomeUnknown: true,
    message: /SELF_SIGNED/
  })
  t.equal(seen.length, 2)
})

/** The first call fails because of a certificate. `meanwhile` is what happens until then. */
function untrustedOnce (meanwhile = (): void => {}): typeof fetch {
  let calls = 0
  return async (...args) => {
    if (calls++ > 0) return fetch(...args)
    meanwhile()
    throw Object.assign(new Error('it expired'), { code: 'CERT_HAS_EXPIRED' })
  }
}

t.test('a certificate that is not trusted, of a server that is reached once more and redirects: ' +
  'it may have been carried out', async (t) => {
  const { url, seen } = await startScript(t, answer(303, '', { location: '/x?moved' }))
  const send = idempotentFetch({ ...QUICK, fetch: untrustedOnce() })
  await t.rejects(send(url, { method: 'POST' }), {
    name: 'RequestFailedError',
    tries: 2,
    outcomeUnknown: true,
    message: /CERT_HAS_EXPIRED/
  })
  t.equal(seen.length, 1)
})

t.test('what may have been redirected to a server that is not trusted stays unknown, ' +
  'though the next try is refused', async (t) => {
  const untrusted = await startUntrusted(t)
  const { url, seen } = await startScript(
    t,
    answer(303, '', { location: untrusted.url }),
    answer(429, '', { 'retry-after': '3600' })
  )
  await t.rejects(fetchOnce(url, { method: 'POST' }), { name: 'RetryTimeoutError', tries: 2, outcomeUnknown: true })
  t.equal(seen.length, 2)
})

t.test('the time of a try is not begun again to see where a certificate failed', async (t) => {
  for (const times of [
    { tryTimeout: 600_000, totalTimeout: 6_000_000 },
    { tryTimeout: 600_000, totalTimeout: 600_000 }
  ]) {
    const forward = putClockForward(t)
    const { url } = await startScript(t, hang)
    const send = idempotentFetch({ ...QUICK, ...times, fetch: untrustedOnce(() => { forward(599_000) }) })
    await t.rejects(send(url, { method: 'POST' }), {
      name: 'RequestFailedError',
      outcomeUnknown: true,
      message: /CERT_HAS_EXPIRED/
    })
  }
})

// node-fetch also accepts files of its own; those of undici are the platform's.
const PACKAGES = {
  undici: { fetch: undici.fetch, FormData: undici.FormData, File },
  'node-fetch': { fetch: nodeFetch, FormData: NodeFetchFormData, File: NodeFetchFile }
}

for (const [name, { fetch, ...own }] of Object.entries(PACKAGES)) {
  t.test(`the fetch of ${name} sends the FormData, files and Blobs of that package`, async (t) => {
    const { url, seen } = await startScript(t, cut)
    const send = idempotentFetch({ ...QUICK, fetch: fetch as unknown as typeof globalThis.fetch })
    const file = new own.File(['abcd'], 'a.txt', { type: 'text/csv' })
    const form = new own.FormData()
    form.append('name', 'äöü')
    form.append('file', file)
    t.equal((await send(url, { method: 'POST', body: form })).idempotency.tries, 2)
    const [first, second] = seen
    const contentType = first?.headers['content-type'] ?? ''
    t.ok(second?.body.equals(first?.body ?? Buffer.alloc(0)))
    t.equal(second?.headers['content-type'], contentType)
    const sent = await new Response(first?.body ?? null, { headers: { 'content-type': contentType } }).formData()
    t.equal(sent.get('name'), 'äöü')
    const received = sent.get('file') as File
    t.match(
      { name: received.name, type: received.type, text: await received.text() },
      { name: 'a.txt', type: 'text/csv', text: 'abcd' }
    )

    await send(url, { method: 'POST', body: file as unknown as Blob })
    t.match(
      { type: seen[2]?.headers['content-type'], body: seen[2]?.body.toString() },
      { type: 'text/csv', body: 'abcd' }
    )
  })

  t.test(`answers that the fetch of ${name} gets are the platform's, small and large, ` +
    'and again if they break off', async (t) => {
    const size = 3_000_000
    const { url } = await startScript(
      t,
      half,
      answer(200, 'x'.repeat(size), { 'x-a': 'b' }),
      answer(204),
      answer(302, '', { location: '/x?moved' })
    )
    const send = idempotentFetch({ ...QUICK, fetch: fetch as unknown as typeof globalThis.fetch })
    const large = await send(url, { method: 'POST' })
    t.match(
      { tries: large.idempotency.tries, url: large.url, header: large.headers.get('x-a') },
      { tries: 2, url, header: 'b' }
    )
    t.equal((await large.text()).length, size)
    t.match(await send(url, { method: 'POST' }), { status: 204, body: null })
    const moved = await send(url, { method: 'POST' })
    t.match(moved, { url: `${url}?moved`, redirected: true })
    t.equal(await moved.clone().text(), 'done')
  })

  t.test(`an error of the fetch of ${name} that no other try can mend fails at once`, async (t) => {
    const send = idempotentFetch({ ...QUICK, fetch: fetch as unknown as typeof globalThis.fetch })
    const server = await startUntrusted(t)
    await t.rejects(send(server.url, { method: 'POST', body: 'x' }), {
      name: 'RequestFailedError',
      tries: 1,
      outcomeUnknown: false
    })
    const { url } = await startScript(
      t,
      answer(302, '', { location: '/x?moved' }),
      ...Array<typeof hang>(50).fill(answer(302, '', { location: '/x' }))
    )
    await t.rejects(send(url, { method: 'POST', redirect: 'error' }), {
      name: 'RequestFailedError',
      tries: 1,
      outcomeUnknown: true,
      message: /redirects with status 302/
    })
    await t.rejects(send(url, { method: 'POST' }), {
      name: 'RequestFailedError',
      tries: 1,
      outcomeUnknown: true,
      message: /redirect/
    })
  })
}

t.test('where no key can be made, the error says what to do, and a key of one’s own works', async (t) => {
  const { url, seen } = await startScript(t)
  // As on a page that was loaded over http:.
  t.intercept(globalThis.crypto, 'randomUUID', { value: undefined })
  await t.rejects(fetchOnce(url, { method: 'POST' }), {
    message: /no crypto\.randomUUID here .* Give the request a key of your own/
  })
  t.equal((await fetchOnce(url, { method: 'POST', idempotencyKey: 'k' })).status, 200)
  t.equal(seen.length, 1)
})

t.test('an event stream is handed over while it goes on, and stops when the caller aborts', async (t) => {
  let closed = false
  const { url } = await startScript(t, (request, reply) => {
    request.raw.socket.once('close', () => { closed = true })
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: 1\n\n')
  })
  const abort = new AbortController()
  const response = await idempotentFetch({ ...QUICK, tryTimeout: 60_000 })(url, {
    method: 'POST',
    signal: abort.signal
  })
  const reader = response.body?.getReader()
  t.equal(Buffer.from((await reader?.read())?.value as Uint8Array).toString(), 'data: 1\n\n')
  abort.abort(new Error('enough'))
  await t.rejects(async () => { await reader?.read() }, { message: 'enough' })
  await until(() => closed)
})

t.test('what is larger than the client waits for arrives while it is sent, whatever time that takes', async (t) => {
  const rest = gate()
  const { url } = await startScript(t, async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    reply.raw.write(Buffer.alloc(1_500_000, 1))
    await rest.opened
    reply.raw.end(Buffer.alloc(500_000, 2))
  })
  const response = await idempotentFetch({ ...QUICK, tryTimeout: 2_000 })(url, { method: 'POST' })
  t.equal(response.idempotency.tries, 1)
  const start = performance.now()
  await until(() => performance.now() - start > 2_000, 'the time of a try is over')
  rest.open()
  const body = Buffer.from(await response.arrayBuffer())
  t.equal(body.length, 2_000_000)
  t.equal(body.indexOf(2), 1_500_000)
})

t.test('when the time is over, the last answer is the cause, and can be read', async (t) => {
  const { url } = await startScript(t, answer(503, 'closed until tomorrow', { 'retry-after': '3600' }))
  const error = await fetchOnce(url, { method: 'POST' }).then(() => null, (error: Error) => error)
  const cause = error?.cause as Response
  t.equal(cause.status, 503)
  t.equal(await cause.text(), 'closed until tomorrow')
})
