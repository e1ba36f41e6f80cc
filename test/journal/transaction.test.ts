import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import t from 'tap'
import type { Test } from 'tap'
import { build } from '../helper.ts'
import { JournalConflictError, postgresJournal } from '../../plugin/journal/postgres.ts'
import type { Queryable } from '../../plugin/journal/postgres.ts'
import { entry, HOUR, newId, openDatabase, transact } from './helper.ts'
import type { Database } from './helper.ts'

async function rows ({ pool, table }: Pick<Database, 'pool' | 'table'>): Promise<number | null> {
  return (await pool.query(`SELECT 1 FROM ${table}`)).rowCount
}

t.test('complete() refuses a pool, and a client that has not begun: ' +
  'what they write would stand whatever becomes of the effects', async (t) => {
  const database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  let client: Queryable
  const refused: Error[] = []
  app.post('/pay', { config: { idempotency: true } }, async request =>
    request.idempotency?.complete(client, { body: 'paid' }).catch((error: Error) => {
      refused.push(error)
      throw error
    }))
  const outside = await database.pool.connect()
  t.teardown(() => outside.release())
  const http = await listen()
  for (client of [database.pool, outside]) {
    t.equal((await http.post('/pay', randomUUID())).status, 500)
    t.match(refused.pop(), {
      name: 'TypeError',
      message: /in the transaction of its effects, and this client is not in one/
    })
    t.equal(await rows(database), 0)
  }
})

t.test('a transaction that has written nothing yet is one', async (t) => {
  const { pool, journal } = await openDatabase(t)
  const id = newId()
  await transact(pool, async tx => journal.record(tx, id, entry(), HOUR))
  t.same(await journal.find(id), entry())
  for (const level of ['REPEATABLE READ', 'SERIALIZABLE']) {
    await transact(pool, async (tx) => {
      await tx.query(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await journal.record(tx, newId(), entry(), HOUR)
    })
  }
})

t.test('PGlite itself is refused too, and its transaction is not', async (t) => {
  const db = new PGlite()
  t.teardown(() => db.close())
  const journal = postgresJournal(db)
  await journal.createTable()
  await journal.check?.()
  await t.rejects(journal.record(db, newId(), entry(), HOUR), /this client is not in one/)
  t.equal((await db.query('SELECT 1 FROM idempotency_journal')).rows.length, 0)
  const id = newId()
  await db.transaction(async tx => journal.record(tx, id, entry(), HOUR))
  t.same(await journal.find(id), entry())
})

t.test('a database library that answers with the rows themselves, as TypeORM and pg-promise do, ' +
  'is one to keep a journal in', async (t) => {
  const { pool, table } = await openDatabase(t)
  const plain = (db: pg.Pool | pg.PoolClient): Queryable => ({
    query: async (text, values) => (await db.query(text, values)).rows as unknown[]
  })
  const journal = postgresJournal(plain(pool), { table, purgeBatch: 1 })
  await journal.createTable()
  await journal.check?.()
  const id = newId()
  await transact(pool, async tx => journal.record(plain(tx), id, entry(), HOUR))
  t.same(await journal.find(id), entry())
  await t.rejects(journal.record(plain(pool), newId(), entry(), HOUR), /this client is not in one/)
  await t.rejects(transact(pool, async tx => journal.record(plain(tx), id, entry(), HOUR)), JournalConflictError)
  await journal.record(null, newId(), entry(), -1)
  t.same([await journal.purge(), await journal.purge()], [true, false])
})

t.test('complete() twice in one transaction is refused by name, and nothing is done', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, logged } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async request => database.charge(async (tx) => {
    await request.idempotency?.complete(tx, { body: 'one' })
    return request.idempotency?.complete(tx, { body: 'two' })
  }))
  const client = await listen()
  t.match(await client.post('/pay', 'k'), {
    status: 500,
    json: { message: /complete\(\) was called before in this run/ }
  })
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('complete() was called before in this run')))
  t.equal(await database.effects.count(), 0)
  t.match(await app.idempotency.find('k', 'global'), { state: 'released' })
})

t.test('complete() in a second transaction after the first has committed is refused, ' +
  'and what the first committed is the answer', async (t) => {
  const database = await openDatabase(t)
  const { app, listen, logged } = await build(t, { journal: database.journal })
  app.post('/pay', { config: { idempotency: true } }, async (request) => {
    await database.charge(async tx => request.idempotency?.complete(tx, { body: 'one' }))
    return database.charge(async tx => request.idempotency?.complete(tx, { body: 'two' }))
  })
  const client = await listen()
  t.match(await client.post('/pay', 'k'), { status: 200, text: 'one', replayed: false })
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('complete() was called before in this run')))
  t.equal(await database.effects.count(), 1)
  t.match(await client.post('/pay', 'k'), { status: 200, text: 'one', replayed: true })
})

/** Ways to hide from the look-ups of the journal what the transactions write. */
const HIDING: Array<[what: string, hide: (t: Test, database: Database) => Promise<{ db: pg.Pool, begin: string }>]> = [
  ['another search_path', async (t, { pool, table }) => {
    const schema = `s_${randomUUID().replaceAll('-', '')}`
    await pool.query(`CREATE SCHEMA ${schema}`)
    await pool.query(`CREATE TABLE ${schema}.${table} (LIKE public.${table} INCLUDING ALL)`)
    t.teardown(() => pool.query(`DROP SCHEMA ${schema} CASCADE`))
    const db = new pg.Pool({ connectionString: process.env.DATABASE_URL, options: `-c search_path=${schema}` })
    t.teardown(() => db.end())
    return { db, begin: 'SELECT 1' }
  }],
  ['row-level security', async (t, { pool, table }) => {
    const role = `r_${randomUUID().replaceAll('-', '')}`
    await pool.query(`CREATE ROLE ${role}`)
    await pool.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${role}`)
    await pool.query(`ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`)
    await pool.query(`CREATE POLICY p ON ${table} USING (current_setting('app.tenant', true) = 'one')`)
    const db = new pg.Pool({ connectionString: process.env.DATABASE_URL, options: `-c role=${role}` })
    t.teardown(async () => {
      await db.end()
      await pool.query(`DROP OWNED BY ${role}`)
      await pool.query(`DROP ROLE ${role}`)
    })
    return { db, begin: "SET LOCAL app.tenant = 'one'" }
  }]
]

for (const [what, hide] of HIDING) {
  t.test(`a journal that refuses a record and then does not show why (${what}) ` +
    'is told of in the log and in a problem, not by a 409 for ever', async (t) => {
    const database = await openDatabase(t)
    const { db, begin } = await hide(t, database)
    const { app, listen, logged } = await build(t, { journal: postgresJournal(db, { table: database.table }) })
    app.post('/pay', { config: { idempotency: true } }, async request => database.charge(async (tx) => {
      await tx.query(begin)
      return request.idempotency?.complete(tx, { body: { receipt: 1 } })
    }))
    const client = await listen()
    const first = await client.post('/pay', 'k')
    t.match(
      first,
      { status: 500, json: { code: 'FST_IDEMPOTENCY_NOT_COMMITTED', retryable: true } },
      'it cannot be found that it was'
    )
    const second = await client.post('/pay', 'k')
    t.match(second, { status: 500, json: { code: 'FST_IDEMPOTENCY_JOURNAL_INCONSISTENT', retryable: false } })
    t.equal(second.headers.get('content-type'), 'application/problem+json')
    t.ok(
      logged.some(
        ({ level, msg }) => level === 50 && msg.includes('has the outcome of another attempt, and does not show it')
      )
    )
    t.equal(await database.effects.count(), 1)
    t.match(await app.idempotency.find('k', 'global'), { state: 'released' })
  })
}
