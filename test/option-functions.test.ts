import type { FastifyRequest, RouteOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import type { IdempotencyOptions, RouteIdempotencyOptions } from '../plugin/index.ts'
import type { RouteSettings } from '../plugin/options.ts'
import { fingerprinterOf } from '../plugin/request/fingerprint.ts'
import { readKey } from '../plugin/request/key.ts'
import { readScope } from '../plugin/request/scope.ts'
import { takeFingerprint, takenFingerprint } from '../plugin/request/take-fingerprint.ts'
import { kSeen } from '../plugin/routes.ts'
import { build, connectRedis, gate, MemoryStore, newPrefix } from './helper.ts'
import type { Client, TestApp } from './helper.ts'

/** The functions that the plugin calls before a request may run. */
type Functions = Required<Pick<RouteIdempotencyOptions, 'key' | 'validateKey' | 'scope' | 'fingerprint'>>
type Option = keyof Functions
type Ask = (key: string, scope: string) => Promise<unknown>

interface Body { id?: string, owner: string, amount: number }

function bodyOf (request: FastifyRequest): Body {
  return request.body as Body
}

const ANSWERS = {
  key: (request: FastifyRequest) => bodyOf(request).id,
  validateKey: (key: string) => key.startsWith('ok'),
  scope: (request: FastifyRequest) => bodyOf(request).owner,
  fingerprint: (request: FastifyRequest) => String(bodyOf(request).amount)
}

/** A thenable that is not a Promise, as query builders return them. */
function thenable<T> (answer: T): PromiseLike<T> {
  return { then: (...args) => Promise.resolve(answer).then(...args) }
}

const WAYS: Record<string, Functions> = {
  'at once': ANSWERS,
  'with promises': {
    key: async request => ANSWERS.key(request),
    validateKey: async key => ANSWERS.validateKey(key),
    scope: async request => ANSWERS.scope(request),
    fingerprint: async request => ANSWERS.fingerprint(request)
  },
  'with what is awaited like promises': {
    key: request => thenable(ANSWERS.key(request)),
    validateKey: key => thenable(ANSWERS.validateKey(key)),
    scope: request => thenable(ANSWERS.scope(request)),
    fingerprint: request => thenable(ANSWERS.fingerprint(request))
  }
}

interface Served extends TestApp {
  client: Client
  runs: () => number
}

async function serve (t: Test, options: Partial<IdempotencyOptions>, route: object = {}): Promise<Served> {
  const built = await build(t, { store: new MemoryStore(), ...options })
  let runs = 0
  built.app.post('/pay/:order', { config: { idempotency: true }, ...route }, async () => ({ run: ++runs }))
  return { ...built, client: await built.listen(), runs: () => runs }
}

for (const [how, functions] of Object.entries(WAYS)) {
  t.test(`key, validateKey, scope and fingerprint may answer ${how}`, async (t) => {
    const { client, runs } = await serve(t, functions)
    const pay = (body: Partial<Body>) => client.post('/pay/1', null, { id: 'ok 1', owner: 'alice', amount: 1, ...body })
    t.match(await pay({}), { status: 200, replayed: false, text: '{"run":1}' })
    t.match(await pay({}), { status: 200, replayed: true, text: '{"run":1}' })
    t.match(await pay({ owner: 'bob' }), { status: 200, replayed: false, text: '{"run":2}' }, 'another scope')
    t.match(await pay({ amount: 2 }), { status: 422, json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' } })
    t.match(await pay({ id: 'bad' }), { status: 400, json: { code: 'FST_IDEMPOTENCY_KEY_INVALID' } })
    const missing = await client.post('/pay/1', null, { owner: 'alice', amount: 1 })
    t.match(missing, { status: 400, json: { code: 'FST_IDEMPOTENCY_KEY_MISSING' } })
    t.equal(runs(), 2)
  })
}

t.test('twins whose functions are asynchronous are one run', async (t) => {
  const { client, runs } = await serve(t, { ...WAYS['with promises'], onConflict: 'wait' })
  const twins = Array.from({ length: 5 }, () => client.post('/pay/1', null, { id: 'ok', owner: 'alice', amount: 1 }))
  t.same((await Promise.all(twins)).map(({ text }) => text), Array(5).fill('{"run":1}'))
  t.equal(runs(), 1)
})

/** Functions as a user without types may write them. What is in plain text must not appear in errors or logs. */
const FAILURES: Record<string, () => unknown> = {
  throws: () => { throw new Error('secret-4711') },
  'throws what is no error': () => { throw null }, // eslint-disable-line @typescript-eslint/only-throw-error
  'returns a promise that is rejected': async () => { throw new Error('secret-4711') },
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
  'returns a promise that is rejected with nothing': () => Promise.reject()
}

const OPTIONS: Option[] = ['key', 'validateKey', 'scope', 'fingerprint']

function only (option: Option, value: () => unknown): Partial<IdempotencyOptions> {
  return { [option]: value }
}

for (const option of OPTIONS) {
  for (const [what, fails] of Object.entries(FAILURES)) {
    t.test(`if "${option}" ${what} it is a 500 of the app that the log explains, and nothing runs`, async (t) => {
      let isBroken = true
      const good = { key: 'ok', validateKey: true, scope: 'alice', fingerprint: 'same' }[option]
      const { client, runs, logged } = await serve(t, only(option, () => isBroken ? fails() : good))
      const answer = await client.post('/pay/1', 'k')
      t.equal(answer.headers.get('content-type'), 'application/problem+json')
      t.match(answer, {
        status: 500,
        json: {
          code: 'FST_IDEMPOTENCY_OPTION_FAILED',
          retryable: false,
          detail: `The idempotency option "${option}" of POST /pay/:order failed: the log of this service says why`
        }
      })
      t.notMatch(answer.text, /secret/)
      const errors = logged.filter(({ level }) => level === 50)
      t.equal(errors.length, 1, 'in one line')
      t.match(errors[0], {
        msg: `idempotency: the option "${option}" of POST /pay/:order failed, the request is refused`
      })
      if (/rejected$|throws$/.test(what)) t.match(errors[0], { err: { message: 'secret-4711' } })
      t.equal(runs(), 0)
      isBroken = false
      t.match(await client.post('/pay/1', 'k'), { status: 200, text: '{"run":1}' }, 'the process serves the next one')
    })
  }

  t.test(`an error of "${option}" that has a status of its own is the answer, as from any hook`, async (t) => {
    const refusal = (statusCode: number) => Object.assign(new Error('who are you?'), { statusCode })
    for (const statusCode of [401, 503]) {
      const ways = [() => { throw refusal(statusCode) }, async () => { throw refusal(statusCode) }]
      for (const refuses of ways) {
        const { client, runs, logged } = await serve(t, only(option, refuses))
        t.match(await client.post('/pay/1', 'k'), { status: statusCode, json: { message: 'who are you?' } })
        const what = `"${option}" of POST /pay/:order failed`
        const told = logged.some(({ level, msg }) => level === 50 && msg.includes(what))
        t.equal(told, statusCode === 503, `${statusCode}: a failure is logged, a refusal is not`)
        t.equal(runs(), 0)
      }
    }
  })
}

for (const own of [
  { statusCode: 700 },
  { statusCode: 600 },
  { statusCode: 404.5 },
  { status: 1e9 },
  { statusCode: 399 },
  { status: 'no' }
]) {
  t.test(`an error with a status that no answer has is a failure of the option: ${JSON.stringify(own)}`, async (t) => {
    const { client, runs, logged } = await serve(t, {
      scope: () => {
        throw Object.assign(new Error('secret-4711'), own)
      }
    })
    const refused = await client.post('/pay/1', 'k')
    t.match(refused, { status: 500, json: { code: 'FST_IDEMPOTENCY_OPTION_FAILED' } })
    t.notMatch(refused.text, 'secret-4711')
    t.match(
      logged.filter(({ level }) => level === 50),
      [{ msg: /"scope" of POST \/pay\/:order failed/, err: { message: 'secret-4711' } }]
    )
    t.equal(runs(), 0)
  })
}

t.test('an app’s own error handler gets what has failed, with its cause', async (t) => {
  const scope = async (): Promise<never> => { throw new Error('no database') }
  const { app, listen } = await build(t, { store: new MemoryStore(), errors: 'error-handler', scope })
  app.setErrorHandler<Error & { code: string }>(async ({ code, cause }, _request, reply) => {
    reply.code(500)
    return { code, cause: (cause as Error).message }
  })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const { status, json } = await (await listen()).post('/x', 'k')
  t.equal(status, 500)
  t.same(json, { code: 'FST_IDEMPOTENCY_OPTION_FAILED', cause: 'no database' })
})

/** For each option: what it must return, and what it returns instead. */
const WRONG: Record<Option, [expected: string, answers: Array<[answer: unknown, got: string]>]> = {
  key: ['a string, a number or undefined', [
    [null, 'null'], [true, 'boolean'], [{}, 'object'], [['k'], 'object'], [NaN, 'the number NaN'],
    [Infinity, 'the number Infinity'], [2 ** 53, 'a number beyond 2^53'], [1n, 'bigint'], [() => 'k', 'function']
  ]],
  validateKey: ['true or false', [
    [undefined, 'undefined'], [null, 'null'], [1, 'number'], ['yes', 'string'], [[], 'object']
  ]],
  scope: [
    'a string or a number that names the caller',
    [
      [undefined, 'undefined'],
      [null, 'null'],
      [{}, 'object'],
      ['', 'an empty string'],
      ['undefined', "the text 'undefined'"],
      [-(2 ** 60), 'a number beyond 2^53'],
      ['a\ud800', 'text with half a surrogate pair']
    ]
  ],
  fingerprint: ['a string or a Buffer', [[undefined, 'undefined'], [7, 'number'], [null, 'null'], [{}, 'object']]]
}

for (const option of OPTIONS) {
  t.test(`what "${option}" must not return is a 500; it and the log say what it got, and nothing runs`, async (t) => {
    const [expected, answers] = WRONG[option]
    for (const [answer, got] of answers) {
      for (const asynchronous of [false, true]) {
        const wrong = () => asynchronous ? Promise.resolve(answer) : answer
        const { client, runs, logged } = await serve(t, only(option, wrong))
        const refused = await client.post('/pay/1', 'k')
        const code = option === 'scope' ? 'FST_IDEMPOTENCY_SCOPE_INVALID' : 'FST_IDEMPOTENCY_OPTION_FAILED'
        t.match(refused, {
          status: 500,
          json: {
            code,
            detail: `The idempotency option "${option}" of POST /pay/:order must return ${expected}, got ${got}`
          }
        })
        const msg = `idempotency: the option "${option}" of POST /pay/:order failed, the request is refused`
        const errors = logged.filter(({ level }) => level === 50)
        t.match(errors, [{ msg, err: { message: `must return ${expected}, got ${got}` } }])
        t.equal(runs(), 0)
      }
    }
  })
}

t.test('a key, like a scope, may be a number, and is known to operators by it', async (t) => {
  const { app, listen } = await build(t, {
    store: new MemoryStore(),
    key: request => (request.body as { id: number }).id
  })
  app.post('/x', { config: { idempotency: true } }, async request => ({ key: request.idempotency?.key }))
  const client = await listen()
  t.same((await client.post('/x', null, { id: 7 })).json, { key: '7' })
  t.equal((await client.post('/x', null, { id: 7 })).replayed, true)
  t.match(await app.idempotency.find(7, 'global'), { state: 'settled' })
  t.equal(await app.idempotency.forget(7, 'global'), true)
  t.equal(await app.idempotency.find('7', 'global'), null)

  t.equal(await app.idempotency.run({ scope: 42, key: 7 }, () => 'sent'), 'sent')
  t.equal(await app.idempotency.run({ scope: '42', key: '7' }, () => 'sent again'), 'sent')
})

const HALVES = ['\ud800', '\udfff', 'a\ud801', '\ud800a']

t.test('halves of surrogate pairs make no key, whatever validateKey accepts: all hash to the same', async (t) => {
  const { app, client, runs } = await serve(t, { key: request => bodyOf(request).id, validateKey: () => true })
  t.match(await client.post('/pay/1', null, { id: '\ufffd' }), { status: 200, text: '{"run":1}' })
  t.match(await client.post('/pay/1', null, { id: '😀' }), { status: 200, text: '{"run":2}' }, 'whole ones do')
  for (const id of HALVES) {
    t.match(await client.post('/pay/1', null, { id }), { status: 400, json: { code: 'FST_IDEMPOTENCY_KEY_INVALID' } })
    for (const ask of [app.idempotency.find, app.idempotency.forget] as Ask[]) {
      await t.rejects(ask(id, 'global'), /a key must be .* got text with half a surrogate pair/)
      await t.rejects(ask('k', id), /a scope must be .* got text with half a surrogate pair/)
    }
    const call = app.idempotency.run({ scope: 'jobs', key: id }, () => 'done')
    await t.rejects(call, /a key must be .* half a surrogate pair/)
  }
  t.equal(runs(), 2)
})

t.test('fingerprints that differ in half a surrogate pair are those of two requests', async (t) => {
  const options = { fingerprint: (request: FastifyRequest) => bodyOf(request).owner }
  const { client, runs } = await serve(t, options)
  const pay = (owner: string) => client.post('/pay/1', 'k', { owner })
  t.equal((await pay('a\ud800')).status, 200)
  t.equal((await pay('a\ud800')).replayed, true)
  for (const owner of ['a\ud801', 'a\ufffd', '"a\\ud800"']) t.equal((await pay(owner)).status, 422)
  t.equal(runs(), 1)
})

t.test('a key that is the text of nothing is no key of one’s own, since all without one would share it', async (t) => {
  const { client, runs } = await serve(t, { key: request => String(bodyOf(request).id) })
  for (const id of [undefined, null, NaN]) {
    t.match(await client.post('/pay/1', null, { id }), { status: 400, json: { code: 'FST_IDEMPOTENCY_KEY_INVALID' } })
  }
  t.equal(runs(), 0)
})

t.test('an asynchronous fingerprint reads the body as it was parsed, also after it has waited', async (t) => {
  const seen: unknown[] = []
  const { opened, open } = gate()
  const schema = { body: { type: 'object', properties: { amount: { type: 'integer' }, currency: { default: 'EUR' } } } }
  const { client } = await serve(t, {
    async fingerprint (request) {
      await opened
      // Long enough for a validation that does not wait.
      await new Promise(resolve => setImmediate(resolve))
      seen.push({ ...bodyOf(request) })
      return JSON.stringify(request.body)
    }
  }, { schema })
  const first = client.post('/pay/1', 'k', { amount: '7' })
  open()
  t.equal((await first).status, 200)
  t.equal((await client.post('/pay/1', 'k', { amount: '7' })).replayed, true)
  t.same(seen, [{ amount: '7' }, { amount: '7' }], 'and is asked once a request')
})

t.test('an asynchronous fingerprint that fails or has nothing to say yet is asked again at the claim', async (t) => {
  interface Prepared { digest?: string }
  const ways: Array<NonNullable<RouteIdempotencyOptions['fingerprint']>> = [
    async (request) => {
      const { digest } = request as Prepared
      if (digest === undefined) throw new Error('not yet')
      return digest
    },
    async request => (request as Prepared).digest ?? ''
  ]
  for (const fingerprint of ways) {
    const { client, runs, logged } = await serve(t, { fingerprint }, {
      preHandler: async (request: FastifyRequest) => { (request as Prepared).digest = bodyOf(request).owner }
    })
    const pay = (owner: string, amount: number) => client.post('/pay/1', 'k', { owner, amount })
    t.equal((await pay('a', 1)).status, 200)
    t.equal((await pay('a', 2)).replayed, true)
    t.equal((await pay('b', 1)).status, 422)
    t.equal(runs(), 1)
    t.notOk(logged.some(({ level }) => level === 50))
  }
})

t.test('a request that is refused before its claim does not call again a fingerprint that failed', async (t) => {
  let asked = 0
  const { client, logged } = await serve(t, {
    async fingerprint () {
      asked++
      throw new Error('broken')
    }
  }, { schema: { querystring: { type: 'object', required: ['valid'] } } })
  t.equal((await client.post('/pay/1', 'k', { amount: 1 })).status, 400)
  t.equal(asked, 1)
  t.notOk(logged.some(({ level }) => level === 50))
  t.equal((await client.post('/pay/1?valid=1', 'k', { amount: 1 })).status, 500)
})

class CountingStore extends MemoryStore {
  claims = 0

  override claim (...args: Parameters<MemoryStore['claim']>): ReturnType<MemoryStore['claim']> {
    this.claims++
    return super.claim(...args)
  }
}

for (const option of OPTIONS) {
  t.test(`a request that was answered while "${option}" made it wait claims nothing and runs nothing`, async (t) => {
    const { opened, open } = gate<unknown>()
    const good = { key: 'k', validateKey: true, scope: 'alice', fingerprint: 'same' }[option]
    let asked = 0
    const store = new CountingStore()
    const { app, listen } = await build(t, { store, ...only(option, () => asked++ === 0 ? opened : good) })
    let runs = 0
    const handler = async () => `run ${++runs}`
    app.post('/hurried', { config: { idempotency: true }, handlerTimeout: 50 }, handler)
    app.post('/patient', { config: { idempotency: true } }, handler)
    const client = await listen()
    t.equal((await client.post('/hurried', 'k')).status, 503)
    open(good)
    t.equal((await client.post('/patient', 'k')).text, 'run 1', 'the key is free')
    t.equal(store.claims, 1)
  })
}

t.test('functions that answer at once make no request wait', async (t) => {
  const { app, listen } = await build(t, { store: new MemoryStore(), ...ANSWERS })
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    const settings = request.routeOptions.config[kSeen]?.protection as RouteSettings
    const fingerprintOf = fingerprinterOf({ url: '/x' } as RouteOptions, settings)
    return [
      readKey(request, settings), readScope(request, settings.scope),
      takeFingerprint(fingerprintOf, settings, request) ?? 'taken', takenFingerprint(fingerprintOf, request)
    ]
  })
  const answer = await (await listen()).post('/x', null, { id: 'ok', owner: 'alice', amount: 1 })
  t.match(answer.json, ['ok', 'alice', 'taken', /^[\w-]{43}$/], 'a promise would be an empty object here')
})

t.test('a retry finds its record across a change of formats, by an asynchronous fingerprint too', async (t) => {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  let asked = 0
  const fingerprint = async (request: FastifyRequest): Promise<string> => {
    asked++
    return String(bodyOf(request).amount)
  }
  const clients: Client[] = []
  for (const recordVersion of [1, 2] as const) {
    const { app, listen } = await build(t, { redis, keyPrefix, recordVersion, fingerprint })
    app.post('/x', { config: { idempotency: true } }, async () => `by ${recordVersion}`)
    clients.push(await listen())
  }
  const [old, current] = clients as [Client, Client]
  for (const [key, first, second] of [['k1', old, current], ['k2', current, old]] as const) {
    asked = 0
    const sent = await first.post('/x', key, { amount: 1 })
    t.equal(sent.status, 200)
    t.match(await second.post('/x', key, { amount: 1 }), { replayed: true, text: sent.text })
    t.equal((await second.post('/x', key, { amount: 2 })).status, 422)
    t.equal(asked, 3, 'it is asked once a request')
  }
})
