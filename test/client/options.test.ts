import t from 'tap'
import { IdempotencyOptionError, idempotentFetch } from '../../plugin/client/index.ts'
import type { IdempotentFetchOptions } from '../../plugin/client/index.ts'
import { idempotent } from '../../plugin/client/undici.ts'
import { answer, startScript } from './helper.ts'

const WRONG: Array<[string, unknown, RegExp]> = [
  ['header', 'idempotency key', /option "header" must be the name of a request header, got "idempotency key"/],
  ['header', '', /option "header" must be the name of a request header, got ""/],
  ['tryTimeout', 0, /option "tryTimeout" must be a whole number of milliseconds from 1 to 2147483647, got 0/],
  ['tryTimeout', '1s', /option "tryTimeout" must be .*, got "1s"/],
  ['totalTimeout', Infinity, /option "totalTimeout" must be .*, got Infinity/],
  ['totalTimeout', 2 ** 31, /option "totalTimeout" must be .*, got 2147483648/],
  ['firstDelay', -1, /option "firstDelay" must be a whole number of milliseconds from 0 to 2147483647, got -1/],
  ['maxDelay', 1.5, /option "maxDelay" must be .*, got 1\.5/],
  ['maxDelay', null, /option "maxDelay" must be .*, got null/],
  [
    'retries',
    3,
    /unknown option "retries"; known are header, tryTimeout, totalTimeout, firstDelay, maxDelay, validateKey/
  ],
  [
    'validateKey',
    /^k/,
    /option "validateKey" must be a function that tells whether the server takes a key, got an object/
  ],
  ['toString', 3, /unknown option "toString"/]
]

for (const [name, value, message] of WRONG) {
  t.test(`the option ${name} cannot be ${String(value)}`, async (t) => {
    const options = { [name]: value } as IdempotentFetchOptions
    for (const create of [idempotentFetch, idempotent]) {
      t.throws(() => create(options), {
        name: 'IdempotencyOptionError',
        code: 'FST_IDEMPOTENCY_OPTION_INVALID',
        message
      })
    }
  })
}

t.test('the option fetch must be a function, and is none of the interceptor’s', async (t) => {
  const options = { fetch: 'node-fetch' } as unknown as IdempotentFetchOptions
  t.throws(() => idempotentFetch(options), {
    message: /option "fetch" must be a function like fetch, got "node-fetch"/
  })
  t.throws(() => idempotent(options), { message: /unknown option "fetch"/ })
})

t.test('an option that is undefined is as if it was not there', async (t) => {
  const { url, seen } = await startScript(t, answer(503))
  const options = { header: undefined, fetch: undefined, totalTimeout: undefined } as unknown as IdempotentFetchOptions
  t.equal((await idempotentFetch(options)(url, { method: 'POST' })).status, 200)
  t.ok(seen[1]?.headers['idempotency-key'])
})

t.test('a key that cannot be one, or that a default server refuses, is refused before anything is sent', async (t) => {
  const { url, seen } = await startScript(t)
  for (const idempotencyKey of ['', 'schlüssel', 'a\r\nb', 'a b', 'k'.repeat(256), 7 as unknown as string]) {
    await t.rejects(idempotentFetch()(url, { method: 'POST', idempotencyKey }), IdempotencyOptionError)
  }
  await t.rejects(idempotentFetch()(url, { method: 'POST', idempotencyKey: 'a', headers: { 'Idempotency-Key': 'a' } }),
    { message: /"idempotencyKey" or in the header idempotency-key, not both/ })
  t.equal(seen.length, 0)
})

t.test('a validateKey that returns anything but true or false is a mistake, not a yes', async (t) => {
  const { url, seen } = await startScript(t)
  for (const [answer, got] of [
    [Promise.resolve(false), 'a promise'],
    ['no', 'string'],
    [undefined, 'undefined']
  ] as const) {
    const send = idempotentFetch({ validateKey: (() => answer) as unknown as () => boolean })
    await t.rejects(send(url, { method: 'POST', idempotencyKey: 'k' }), {
      name: 'IdempotencyOptionError',
      message: new RegExp(`option "validateKey" must return true or false at once, got ${got}`)
    })
  }
  t.equal(seen.length, 0)
})
