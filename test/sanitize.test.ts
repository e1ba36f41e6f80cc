import { Readable } from 'node:stream'
import t from 'tap'
import { openDatabase, payRoute } from './journal/helper.ts'
import { build, connectRedis, newPrefix } from './helper.ts'
import type { IdempotencyOptions, SanitizableResponse } from '../plugin/index.ts'

const CARD = '4242424242424242'

const masking: IdempotencyOptions['sanitize'] = ({ headers, body }) => {
  const { 'x-token': _token, ...others } = headers
  return { headers: others, body: body.toString().replace(/\d{12}(?=\d{4})/, '************') }
}

t.test('what must not rest in Redis is masked there and in replays; the first answer is sent as it is', async (t) => {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const { app, listen } = await build(t, { redis, keyPrefix, sanitize: masking })
  app.post('/pay', { config: { idempotency: true } }, async (_request, reply) =>
    reply.header('x-token', 'secret').header('x-kept', 'yes').send({ card: CARD })
  )
  const client = await listen()
  const first = await client.post('/pay', 'k')
  t.equal(first.text, `{"card":"${CARD}"}`)
  t.equal(first.headers.get('x-token'), 'secret')
  const second = await client.post('/pay', 'k')
  t.equal(second.replayed, true)
  t.equal(second.text, '{"card":"************4242"}')
  t.equal(second.headers.get('x-token'), null)
  t.equal(second.headers.get('x-kept'), 'yes')
  t.equal(second.headers.get('content-type'), first.headers.get('content-type'))
  const stored = (await Promise.all((await redis.keys(`${keyPrefix}*`)).map(key => redis.get(key)))).join()
  t.match(stored, '************4242')
  t.notMatch(stored, CARD)
  t.notMatch(stored, 'secret')
})

t.test('it sees the status, the kept headers, the bytes of a stream, and the request', async (t) => {
  const seen: unknown[] = []
  const { app, listen } = await build(t)
  const sanitize: IdempotencyOptions['sanitize'] = ({ statusCode, headers, body }, request) => {
    seen.push({ statusCode, headers, body: body.toString(), url: request.url })
    return {}
  }
  app.post('/stream', { config: { idempotency: { sanitize } } }, async (_request, reply) =>
    reply.code(201).type('text/plain').header('set-cookie', 'a=b').send(Readable.from(['a', 'b'])))
  const client = await listen()
  t.equal((await client.post('/stream', 'k')).text, 'ab')
  t.same(seen, [{ statusCode: 201, headers: { 'content-type': 'text/plain' }, body: 'ab', url: '/stream' }])
  t.match(await client.post('/stream', 'k'), { status: 201, text: 'ab', replayed: true })
  t.equal(seen.length, 1, 'it is not asked on a replay')
})

/** Functions as a user without types may write them. */
const WRONG: Record<string, () => unknown> = {
  throws: () => { throw new Error('broken') },
  'returns nothing': () => undefined,
  'returns a body that is neither text nor bytes': () => ({ body: 7 }),
  'returns headers that are text': () => ({ headers: 'x-kept: yes' }),
  'returns a header that is nothing': () => ({ headers: { 'x-kept': null } }),
  'returns a header that is an object': () => ({ headers: { 'x-kept': { a: 1 } } }),
  'returns a header with a line that is nothing': () => ({ headers: { 'x-kept': ['a', undefined] } }),
  'returns a promise that is rejected': () => Promise.reject(new Error('broken')),
  'returns a promise of nothing': async () => {}
}

for (const [what, sanitize] of Object.entries(WRONG)) {
  t.test(`if it ${what} nothing is kept, and the charge is still answered`, async (t) => {
    const { app, listen, logged } = await build(t, {
      sanitize: sanitize as NonNullable<IdempotencyOptions['sanitize']>
    })
    let runs = 0
    app.post('/pay', { config: { idempotency: true } }, async () => ({ run: ++runs, card: CARD }))
    const client = await listen()
    t.match(await client.post('/pay', 'k'), { status: 200, text: `{"run":1,"card":"${CARD}"}` })
    const second = await client.post('/pay', 'k')
    t.equal(second.json.code, 'FST_IDEMPOTENCY_NOT_REPLAYABLE')
    t.equal(second.json.originalStatus, 200)
    t.equal(runs, 1)
    t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('"sanitize" of POST /pay failed')))
  })
}

t.test('a header that it leaves undefined is left out, and one that it leaves as a number is its text', async (t) => {
  const sanitize = (({ headers }: SanitizableResponse) => ({
    headers: { ...headers, 'x-token': undefined, 'x-left': 7 }
  })) as unknown
  const { app, listen } = await build(t, { sanitize: sanitize as NonNullable<IdempotencyOptions['sanitize']> })
  app.post('/pay', { config: { idempotency: true } }, async (_request, reply) =>
    reply.header('x-token', 'secret').send('paid')
  )
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).headers.get('x-token'), 'secret')
  const { replayed, headers } = await client.post('/pay', 'k')
  t.equal(replayed, true)
  t.equal(headers.get('x-token'), null)
  t.equal(headers.get('x-left'), '7')
})

t.test('the journal keeps what it leaves, too', async (t) => {
  const database = await openDatabase(t)
  const sanitize: IdempotencyOptions['sanitize'] = () => ({ body: '{"receipt":"masked"}' })
  const { app, listen } = await build(t, { journal: database.journal, sanitize })
  payRoute(app, database)
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).text, '{"receipt":1}')
  await app.idempotency.forget('k', 'global')
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":"masked"}', replayed: true })
  t.equal(await database.effects.count(), 1)
})

t.test('it may be asynchronous: the answer waits for it, and what it leaves is what is kept', async (t) => {
  const { app, listen } = await build(t, {
    sanitize: async ({ body }) => {
      await new Promise(setImmediate)
      return { body: body.toString().replace(CARD, '****') }
    }
  })
  app.post('/pay', { config: { idempotency: true } }, async () => ({ card: CARD }))
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).text, `{"card":"${CARD}"}`)
  t.match(await client.post('/pay', 'k'), { replayed: true, text: '{"card":"****"}' })
})
