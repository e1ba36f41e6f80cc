import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import t from 'tap'
import { build, MemoryStore } from '../helper.ts'
import { postgresJournal } from '../../plugin/journal/postgres.ts'
import type { Journal, Queryable } from '../../plugin/journal/postgres.ts'
import { openDatabase } from './helper.ts'

async function ready (t: Parameters<typeof build>[0], journal: Journal): ReturnType<typeof build> {
  const built = await build(t, { store: new MemoryStore(), journal })
  await built.app.ready()
  return built
}

t.test('a journal whose table is there lets the app get ready', async (t) => {
  const { journal, statements } = await openDatabase(t)
  await ready(t, journal)
  t.equal(statements().filter(statement => statement.includes('pg_is_in_recovery')).length, 1)
})

t.test('a journal without its table does not, and says how to create it', async (t) => {
  const { pool } = await openDatabase(t)
  const message = /its table "nowhere" does not exist.*await journal.createTable\(\).*fastify-idempotency\/postgres.sql/
  await t.rejects(ready(t, postgresJournal(pool, { table: 'nowhere' })), { name: 'JournalUnusableError', message })
  await t.rejects(
    ready(t, postgresJournal(pool, { table: 'no_schema.nowhere' })),
    /its table "no_schema"."nowhere" does not exist/
  )
  const { app } = await build(t, { store: new MemoryStore() })
  app.post(
    '/pay',
    { config: { idempotency: { journal: postgresJournal(pool, { table: 'nowhere' }) } } },
    async () => 'done'
  )
  await t.rejects(async () => app.ready(), { message }, 'a route’s own too')
})

t.test('a journal whose table is another one is refused', async (t) => {
  const { pool, table } = await openDatabase(t)
  await pool.query(`ALTER TABLE ${table} DROP COLUMN owner`)
  await t.rejects(ready(t, postgresJournal(pool, { table })), /lacks a column/)
})

t.test('a journal whose table may not be read is refused', async (t) => {
  const { pool, table } = await openDatabase(t)
  const role = `r_${randomUUID().replaceAll('-', '')}`
  await pool.query(`CREATE ROLE ${role}`)
  const db = new pg.Pool({ connectionString: process.env.DATABASE_URL, options: `-c role=${role}` })
  t.teardown(async () => {
    await db.end()
    await pool.query(`DROP ROLE ${role}`)
  })
  await t.rejects(ready(t, postgresJournal(db, { table })), /grant SELECT, INSERT, UPDATE and DELETE on its table/)
})

t.test('a journal on a replica, which lags behind what was committed, is refused', async (t) => {
  const { pool, table } = await openDatabase(t)
  const schema = `s_${randomUUID().replaceAll('-', '')}`
  await pool.query(`CREATE SCHEMA ${schema}`)
  t.teardown(() => pool.query(`DROP SCHEMA ${schema} CASCADE`))
  // This stands for a second server: this server says that it is a replica.
  await pool.query(`CREATE FUNCTION ${schema}.pg_is_in_recovery () RETURNS boolean LANGUAGE sql AS 'SELECT true'`)
  const db = new pg.Pool({
    connectionString: process.env.DATABASE_URL,
    options: `-c search_path=${schema},pg_catalog,public`
  })
  t.teardown(() => db.end())
  await t.rejects(ready(t, postgresJournal(db, { table })), /its database is a replica/)
})

t.test('a journal in a database that lacks what it is written with is refused', async (t) => {
  const { pool, table } = await openDatabase(t)
  const query: Queryable['query'] = async (text, values) =>
    pool.query(text.replaceAll('txid_current_if_assigned', 'no_such_function'), values)
  await t.rejects(ready(t, postgresJournal({ query }, { table })), /its database is not Postgres 10 or later/)
})

const ODD: Array<[what: string, wrap: (db: pg.Pool) => Queryable['query'], message: RegExp]> = [
  [
    'answers how many rows there were',
    db => async (text, values) => (await db.query(text, values)).rowCount as never,
    /must resolve to \{ rows \}/
  ],
  [
    'answers nothing',
    db => async (text, values) => {
      await db.query(text, values)
      return undefined as never
    },
    /must resolve to \{ rows \}/
  ],
  [
    'takes no values',
    db => async text => db.query(text),
    /its database must have a method query\(text, values\) like that of pg/
  ],
  [
    'hands out bytes as text',
    db => async (text, values) => ({
      rows: (await db.query<object>(text, values)).rows.map(row => JSON.parse(JSON.stringify(row)) as object)
    }),
    /must return bytea/
  ],
  [
    'hands out rows as arrays',
    db => async (text, values) => db.query({ text, values, rowMode: 'array' }),
    /must return bytea/
  ],
  [
    'is synchronous and throws',
    () => () => {
      throw new TypeError("Cannot read properties of undefined (reading 'replaceAll')")
    },
    /its database must have a method query\(text, values\) like that of pg/
  ]
]

for (const [what, wrap, message] of ODD) {
  t.test(`a database whose query method ${what} is refused before the day of the disaster`, async (t) => {
    const { pool, table } = await openDatabase(t)
    await t.rejects(ready(t, postgresJournal({ query: wrap(pool) }, { table })), {
      name: 'JournalUnusableError',
      message
    })
  })
}

t.test('a database that cannot be reached when the app starts is not a wrong one: ' +
  'the app starts, warns, and refuses what it cannot protect', async (t) => {
  const { table } = await openDatabase(t)
  const pool = new pg.Pool({ connectionString: 'postgres://nobody@127.0.0.1:9/nowhere' })
  t.teardown(() => pool.end())
  const { app, listen, logged } = await build(t, {
    store: new MemoryStore(),
    journal: postgresJournal(pool, { table })
  })
  app.post('/pay', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  t.ok(logged.some(({ level, msg }) => level === 40 && msg.includes('the journal could not be checked')))
  t.match(await client.post('/pay', 'k'), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' } })
})

t.test('the embedded Postgres passes, and its missing table is told', async (t) => {
  const db = new PGlite()
  t.teardown(() => db.close())
  const journal = postgresJournal(db)
  await t.rejects(ready(t, journal), /its table "idempotency_journal" does not exist/)
  await journal.createTable()
  await ready(t, journal)
})
