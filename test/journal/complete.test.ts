import t from 'tap'
import { build } from '../helper.ts'
import { openDatabase, payRoute, transact } from './helper.ts'

t.test('what the handler completes with is answered, replayed and journalled, ' +
  'byte for byte and through the response schema', async (t) => {
  const { journal, charge, pool, table } = await openDatabase(t)
  const { app, listen } = await build(t, { journal })
  const receipt = {
    type: 'object', properties: { id: { type: 'integer' }, note: { type: 'string' } }
  }
  app.post(
    '/pay',
    { config: { idempotency: true }, schema: { response: { '2xx': receipt } } },
    async (request, reply) => {
      reply.header('x-before', 'kept')
      return charge(tx => request.idempotency?.complete(tx, {
        statusCode: 201, headers: { Location: '/payments/7' }, body: { id: 7, note: 'ü', secret: 'not in the schema' }
      }) as Promise<object>)
    }
  )
  const client = await listen()
  const first = await client.post('/pay', 'k')
  const again = await client.post('/pay', 'k')
  t.equal(first.status, 201)
  t.equal(first.text, '{"id":7,"note":"ü"}')
  t.equal(first.headers.get('location'), '/payments/7')
  t.equal(first.headers.get('x-before'), 'kept')
  t.equal(first.headers.get('content-type'), 'application/json; charset=utf-8')
  t.notOk(first.replayed)
  t.ok(again.replayed)
  t.equal(again.status, 201)
  t.same(again.body, first.body)
  for (const name of ['location', 'x-before', 'content-type']) {
    t.equal(again.headers.get(name), first.headers.get(name), name)
  }
  const { rows: [row] } = await pool.query<{ body: Buffer, status: number, attempt: number }>(`SELECT * FROM ${table}`)
  t.match(row, { status: 201, attempt: 1 })
  t.same(row?.body, first.body)
})

t.test('the journal costs two statements a run, ' +
  'the record and the look whether it was committed, and a replay none', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  payRoute(app, database)
  const client = await listen()
  await client.post('/pay', 'warm up')
  const before = database.statements().length
  await client.post('/pay', 'k')
  t.match(database.statements().slice(before), [
    /^BEGIN/,
    /^INSERT INTO effects/,
    /INSERT INTO "journal/,
    /^COMMIT/,
    /SELECT fingerprint/
  ])
  t.equal(database.statements().length, before + 5)
  await client.post('/pay', 'k')
  t.equal(database.statements().length, before + 5)
})

const BODIES: Array<
  [
    what: string,
    answer: { statusCode?: number, headers?: Record<string, string>, body?: unknown },
    expected: { status: number, text: string, type: string | null }
  ]
> = [
  ['text', { body: 'success' }, { status: 200, text: 'success', type: 'text/plain; charset=utf-8' }],
  [
    'text of another type',
    { body: '<ok/>', headers: { 'content-type': 'application/xml' } },
    { status: 200, text: '<ok/>', type: 'application/xml' }
  ],
  ['bytes', { body: Buffer.from('bytes') }, { status: 200, text: 'bytes', type: 'application/octet-stream' }],
  ['no body', {}, { status: 204, text: '', type: null }],
  [
    'an array',
    { body: [1, { a: null }] },
    { status: 200, text: '[1,{"a":null}]', type: 'application/json; charset=utf-8' }
  ],
  ['null', { body: null }, { status: 200, text: 'null', type: 'application/json; charset=utf-8' }],
  [
    'a refusal',
    { statusCode: 402, body: { declined: true } },
    { status: 402, text: '{"declined":true}', type: 'application/json; charset=utf-8' }
  ],
  [
    'a failure that is final',
    { statusCode: 500, body: { gone: true } },
    { status: 500, text: '{"gone":true}', type: 'application/json; charset=utf-8' }
  ]
]

for (const [what, answer, expected] of BODIES) {
  t.test(`completing with ${what} answers and replays it`, async (t) => {
    const database = await openDatabase(t)
    const { app, listen } = await build(t, { journal: database.journal })
    app.post('/pay', { config: { idempotency: true } }, async request =>
      database.charge(async tx => request.idempotency?.complete(tx, answer))
    )
    const client = await listen()
    for (const replayed of [false, true]) {
      const answer = await client.post('/pay', 'k')
      t.same({ status: answer.status, text: answer.text, type: answer.headers.get('content-type') }, expected)
      t.equal(answer.replayed, replayed)
    }
    t.equal(await database.effects.count(), 1)
  })
}

t.test('a schema that tells media types apart serializes by the one that is sent', async (t) => {
  const { journal, charge } = await openDatabase(t)
  const { app, listen } = await build(t, { journal })
  const content = (property: string): object => ({
    schema: { type: 'object', properties: { [property]: { type: 'string' } } }
  })
  const schema = {
    response: { 200: { content: { 'application/json': content('a'), 'application/vnd.v2+json': content('b') } } }
  }
  app.post<{ Querystring: { type?: string } }>('/pay', { config: { idempotency: true }, schema }, async request =>
    charge(async tx =>
      request.idempotency?.complete(tx, {
        body: { a: '1', b: '2' },
        headers: request.query.type === undefined ? {} : { 'content-type': request.query.type }
      })
    )
  )
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).text, '{"a":"1"}')
  t.equal((await client.post('/pay?type=application/vnd.v2%2Bjson', 'l')).text, '{"b":"2"}')
})

t.test('a body that does not fit the response schema fails before the commit: nothing is done', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  const schema = { response: { 200: { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } } } }
  let body: object = {}
  app.post('/pay', { config: { idempotency: true }, schema }, async request =>
    database.charge(async tx => request.idempotency?.complete(tx, { body }))
  )
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).status, 500)
  t.equal(await database.effects.count(), 0)
  body = { id: 1 }
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"id":1}', replayed: false })
  t.equal(await database.effects.count(), 1)
})

t.test('a transaction that is tried again, after a deadlock say, completes as if it were the first', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async (request) => {
    const attempt = (n: number): Promise<unknown> => database.charge(async (tx) => {
      const answer = await request.idempotency?.complete(tx, { body: { n } })
      if (n === 1) throw new Error('deadlock detected')
      return answer
    })
    return attempt(1).catch(async () => attempt(2))
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"n":2}' })
  t.match(await client.post('/pay', 'k'), { replayed: true, text: '{"n":2}' })
  t.equal(await database.effects.count(), 1)
})

t.test('an answer that is too large is sent once, and never run again', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal, maxBodySize: 10 })
  app.post('/pay', { config: { idempotency: true } }, async request =>
    database.charge(async tx => request.idempotency?.complete(tx, { body: 'more than ten bytes' }))
  )
  const client = await listen()
  t.match(await client.post('/pay', 'k'), { status: 200, text: 'more than ten bytes' })
  t.match(await client.post('/pay', 'k'), {
    status: 409,
    json: { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', originalStatus: 200 }
  })
  await app.idempotency.forget('k', 'global')
  t.match(
    await client.post('/pay', 'k'),
    { status: 409, json: { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', originalStatus: 200 } },
    'also when Redis has forgotten it'
  )
  t.equal(await database.effects.count(), 1)
})

t.test('cookies that come with the answer go out, and are not kept', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async request => database.charge(async tx =>
    request.idempotency?.complete(tx, { body: 'done', headers: { 'Set-Cookie': 'session=1' } })))
  const client = await listen()
  t.equal((await client.post('/pay', 'k')).headers.get('set-cookie'), 'session=1')
  const replay = await client.post('/pay', 'k')
  t.ok(replay.replayed)
  t.equal(replay.headers.get('set-cookie'), null)
  t.notMatch(
    (await database.pool.query<{ headers: string }>(`SELECT headers FROM ${database.table}`)).rows[0]?.headers,
    /session/
  )
})

t.test('complete() says what is missing or wrong', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t)
  const errors: string[] = []
  const post = (url: string, journal: typeof database.journal | false, tx: unknown, statusCode: unknown): void => {
    app.post(url, { config: { idempotency: { journal } } }, async (request) => {
      await request.idempotency
        ?.complete(tx as never, { statusCode: statusCode as number, body: 'x' })
        .catch((error: Error) => {
          errors.push(error.message)
        })
      return 'done'
    })
  }
  post('/none', false, database.pool, 200)
  post('/tx', database.journal, undefined, 200)
  post('/status', database.journal, database.pool, 'ok')
  const client = await listen()
  for (const url of ['/none', '/tx', '/status']) await client.post(url, url)
  t.match(errors, [
    /needs a journal: set the option "journal"/,
    /takes the client of the transaction first/,
    /takes a statusCode from 200 to 599, got ok/
  ])
})

t.test('a replay has nothing to complete', async (t) => {
  const { journal, pool } = await openDatabase(t)
  const { app, listen } = await build(t, { journal })
  let inReplay: Error | undefined
  app.addHook('onSend', async (request) => {
    if (request.idempotency?.replayed) {
      await request.idempotency.complete(pool, { body: 'x' }).catch((error: Error) => {
        inReplay = error
      })
    }
  })
  app.post('/pay', { config: { idempotency: true } }, async request =>
    transact(pool, async tx => request.idempotency?.complete(tx, { body: 'x' }))
  )
  const client = await listen()
  await client.post('/pay', 'k')
  await client.post('/pay', 'k')
  t.match(inReplay, { message: /a replay has nothing to complete/ })
})
