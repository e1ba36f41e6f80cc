import postgres from '@fastify/postgres'
import t from 'tap'
import type { Test } from 'tap'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type pg from 'pg'
import { build } from '../helper.ts'
import type { Client, TestApp } from '../helper.ts'
import { openDatabase, transact } from './helper.ts'
import type { Database } from './helper.ts'

type Complete = (tx: pg.PoolClient, answer: { statusCode?: number, body?: unknown }) => Promise<unknown>
type Handler = (context: {
  complete: Complete,
  request: FastifyRequest,
  reply: FastifyReply,
  run: number,
  database: Database
}) => unknown

async function start (
  t: Test,
  handler: Handler,
  options: Parameters<typeof build>[1] = {}
): Promise<TestApp & { client: Client, database: Database }> {
  const database = await openDatabase(t)
  const built = await build(t, { journal: database.journal, ...options })
  let run = 0
  built.app.post('/pay', { config: { idempotency: true } }, async (request, reply) =>
    handler({
      complete: async (tx, answer) => request.idempotency?.complete(tx, answer),
      request,
      reply,
      run: ++run,
      database
    })
  )
  return { ...built, client: await built.listen(), database }
}

/** Charges and completes in a transaction that fails on the first run, after the answer was recorded. */
async function failing (
  database: Database,
  run: number,
  work: (tx: pg.PoolClient) => Promise<unknown>
): Promise<unknown> {
  return database.charge(async (tx) => {
    const answer = await work(tx)
    if (run === 1) throw new Error('failed after it was recorded')
    return answer
  })
}

const ALIKE: Array<[what: string, body: unknown, answer: (reply: FastifyReply) => unknown, text: string]> = [
  ['no body', undefined, reply => reply.code(503).send(), ''],
  ['equal text', 'see you', reply => reply.code(503).send('see you'), 'see you'],
  ['null', null, reply => reply.code(503).type('application/json').send(null), 'null']
]

for (const [what, body, answer, text] of ALIKE) {
  t.test(`a failure of the handler's own that looks like what it recorded (${what}) is sent as it is ` +
    'when the transaction failed, and the retry runs', async (t) => {
    const { client, database } = await start(t, async ({ complete, reply, run }) => {
      try {
        return await failing(database, run, async tx => complete(tx, { body }))
      } catch {
        return answer(reply)
      }
    })
    t.match(await client.post('/pay', 'k'), { status: 503, text, replayed: false })
    t.equal(await database.effects.count(), 0)
    t.match(await client.post('/pay', 'k'), { status: body === undefined ? 204 : 200, replayed: false })
    t.equal(await database.effects.count(), 1)
    t.match(await client.post('/pay', 'k'), { status: body === undefined ? 204 : 200, replayed: true })
  })
}

t.test('the recorded object itself, sent with a failure of the handler’s own, is that failure', async (t) => {
  const { client, database } = await start(t, async ({ complete, reply, run }) => {
    const receipt = { receipt: run }
    return failing(database, run, async tx => complete(tx, { body: receipt })).catch(async () =>
      reply.code(503).send(receipt)
    )
  })
  t.match(await client.post('/pay', 'k'), { status: 503, text: '{"receipt":1}' })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":2}', replayed: false })
  t.equal(await database.effects.count(), 1)
})

for (const [what, body] of [['an object', { receipt: 1 }], ['text', 'done'], ['no body', undefined]] as const) {
  t.test(`a handler that answers with what it recorded (${what}) ` +
    'although its transaction failed is not believed', async (t) => {
    const { client, database, logged, app } = await start(t, async ({ complete, reply, run }) => {
      await failing(database, run, async tx => complete(tx, { body })).catch(() => {})
      return body ?? reply.code(204).send()
    })
    const first = await client.post('/pay', 'k')
    t.match(first, { status: 500, json: { code: 'FST_IDEMPOTENCY_NOT_COMMITTED', retryable: true }, replayed: false })
    t.ok(first.headers.get('retry-after'))
    t.equal(await database.effects.count(), 0)
    t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('the journal does not have it')))
    t.match(await app.idempotency.find('k', 'global'), { state: 'released' })
    t.equal((await client.post('/pay', 'k')).status, body === undefined ? 204 : 200)
    t.equal(await database.effects.count(), 1)
  })
}

t.test('a COMMIT that rolls back without an error, since that of a statement was swallowed, is noticed', async (t) => {
  const { client, database } = await start(t, async ({ complete, run }) => database.charge(async (tx) => {
    const receipt = await complete(tx, { body: { receipt: run } })
    if (run === 1) await tx.query('SELECT 1 / 0').catch(() => {})
    return receipt
  }))
  t.match(await client.post('/pay', 'k'), { status: 500, json: { code: 'FST_IDEMPOTENCY_NOT_COMMITTED' } })
  t.equal(await database.effects.count(), 0)
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":2}', replayed: false })
  t.equal(await database.effects.count(), 1)
})

t.test('of a loop that tries its transaction again, the answer of the one that committed is sent, ' +
  'whatever the last one recorded', async (t) => {
  const { client, database } = await start(t, async ({ complete }) => {
    const receipts: unknown[] = []
    for (let i = 1; i <= 3; i++) {
      try {
        await database.charge(async (tx) => {
          receipts.push(await complete(tx, { body: { receipt: i } }))
          if (i === 1) throw new Error('40001')
        })
      } catch {}
    }
    // The second transaction committed, and the third was refused.
    return receipts.at(-1)
  })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":2}', replayed: false })
  t.equal(await database.effects.count(), 1)
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":2}', replayed: true })
})

t.test('an answer that leaves before its transaction has ended, as with ' +
  'pg: { transact: true } of @fastify/postgres, is not believed either', async (t) => {
  const { journal, effects } = await openDatabase(t)
  const { app, listen } = await build(t, { journal }, async (app) => {
    await app.register(postgres, { connectionString: process.env.DATABASE_URL })
  })
  let run = 0
  app.post('/pay', { pg: { transact: true }, config: { idempotency: true } }, async (request) => {
    const tx = request.pg as pg.PoolClient
    await tx.query(`INSERT INTO ${effects.table} DEFAULT VALUES`)
    return request.idempotency?.complete(tx, { body: { receipt: ++run } })
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k'), {
    status: 500,
    json: { code: 'FST_IDEMPOTENCY_NOT_COMMITTED', retryable: true }
  })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":1}', replayed: true }, 'it has ended now')
  t.equal(await effects.count(), 1)
})

t.test('a recorded answer is not given while the journal cannot be asked ' +
  'whether it was committed; the retry gets it', async (t) => {
  const { client, database } = await start(t, async ({ complete }) => {
    const receipt = await database.charge(async tx => complete(tx, { body: { receipt: 1 } }))
    await database.pool.query(`ALTER TABLE ${database.table} RENAME TO ${database.table}_away`)
    return receipt
  })
  t.match(await client.post('/pay', 'k'), {
    status: 503,
    json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE', retryable: true }
  })
  await database.pool.query(`ALTER TABLE ${database.table}_away RENAME TO ${database.table}`)
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":1}', replayed: true })
  t.equal(await database.effects.count(), 1)
})

t.test('with errors: \'error-handler\' the app words what it is that was not committed', async (t) => {
  const { client } = await start(t, async ({ complete, run, database }) => {
    const receipt = { receipt: run }
    await failing(database, run, async tx => complete(tx, { body: receipt })).catch(() => {})
    return receipt
  }, { errors: 'error-handler' })
  t.match(await client.post('/pay', 'k'), {
    status: 500,
    json: { code: 'FST_IDEMPOTENCY_NOT_COMMITTED', message: /send it again/ },
    replayed: false
  })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":2}', replayed: false })
})

const FIRST_ANSWERS: Array<[what: string, handler: Handler]> = [
  [
    'the recorded object',
    ({ complete, database }) => database.charge(async tx => complete(tx, { statusCode: 201, body: { receipt: 1 } }))
  ],
  [
    'a copy of it',
    async ({ complete, database }) => ({
      ...await database.charge(async tx => complete(tx, { statusCode: 201, body: { receipt: 1 } })) as object
    })
  ],
  ['something else', async ({ complete, database }) => {
    await database.charge(async tx => complete(tx, { statusCode: 201, body: { receipt: 1 } }))
    return { something: 'else' }
  }],
  ['an error', async ({ complete, database, reply }) => {
    await database.charge(async tx => complete(tx, { statusCode: 201, body: { receipt: 1 } }))
    reply.header('x-failed', 'yes')
    throw new Error('after the commit')
  }]
]

for (const [what, handler] of FIRST_ANSWERS) {
  t.test('what this run committed is a first answer, not a replay, ' +
    `also when the handler answers with ${what}`, async (t) => {
    const { client, app } = await start(t, handler)
    const first = await client.post('/pay', 'k')
    t.match(first, { status: 201, text: '{"receipt":1}', replayed: false })
    t.equal(first.headers.get('content-type'), 'application/json; charset=utf-8')
    t.equal(first.headers.get('x-failed'), null)
    t.match(app.idempotency.stats(), { completed: 1, recalled: 0, replayed: 0 })
    t.match(await client.post('/pay', 'k'), { status: 201, text: '{"receipt":1}', replayed: true })
  })
}

t.test('what this run committed is a first answer, not a replay, ' +
  'also when a preSerialization of the whole app wraps it', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal }, (app) => {
    app.addHook('preSerialization', async (_request, _reply, payload) => ({ data: payload }))
    app.addHook('onSend', async (_request, reply) => { reply.header('x-other', 'kept') })
  })
  app.post('/pay', { config: { idempotency: true } }, async request =>
    database.charge(async tx => request.idempotency?.complete(tx, { body: { receipt: 1 } }))
  )
  const client = await listen()
  const first = await client.post('/pay', 'k')
  t.match(first, { status: 200, text: '{"receipt":1}', replayed: false })
  t.equal(first.headers.get('x-other'), 'kept')
  t.match(app.idempotency.stats(), { completed: 1, recalled: 0, replayed: 0 })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":1}', replayed: true })
})

t.test('cookies that were set before the answer was recorded leave with it, ' +
  'also when the handler fails after the commit', async (t) => {
  const { client } = await start(t, async ({ complete, reply, database }) => {
    reply.header('set-cookie', 'session=1')
    await database.charge(async tx => complete(tx, { body: { receipt: 1 } }))
    throw new Error('after the commit')
  })
  const first = await client.post('/pay', 'k')
  t.match(first, { status: 200, text: '{"receipt":1}', replayed: false })
  t.equal(first.headers.get('set-cookie'), 'session=1')
})

t.test('a handler that answers 408 after its commit is answered with what it committed', async (t) => {
  const { client } = await start(t, async ({ complete, reply, database }) => {
    await database.charge(async tx => complete(tx, { body: { receipt: 1 } }))
    return reply.code(408).send({ error: 'timed out' })
  })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":1}', replayed: false })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":1}', replayed: true })
})

t.test('a retry loop over serialization failures ends with one effect, ' +
  'and the answer of the transaction that committed', async (t) => {
  const { client, database } = await start(t, async ({ complete }) => {
    for (let n = 1; ; n++) {
      try {
        return await transact(database.pool, async (tx) => {
          await tx.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')
          const { rows: [row] } = await tx.query<{ n: number }>(
            `SELECT count(*)::integer AS n FROM ${database.effects.table}`
          )
          // An effect of another transaction. Neither transaction has seen the effect of the other.
          if (n === 1) {
            await transact(database.pool, async (other) => {
              await other.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')
              await other.query(`SELECT count(*) FROM ${database.effects.table}`)
              await other.query(`INSERT INTO ${database.effects.table} DEFAULT VALUES`)
            })
          }
          await tx.query(`INSERT INTO ${database.effects.table} DEFAULT VALUES`)
          return complete(tx, { body: { seen: row?.n } })
        })
      } catch (error) {
        if ((error as { code?: string }).code !== '40001' || n === 5) throw error
      }
    }
  })
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"seen":1}', replayed: false })
  t.equal(await database.effects.count(), 2)
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"seen":1}', replayed: true })
})
