import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import t from 'tap'
import { build, MemoryStore, until } from '../helper.ts'
import { JournalConflictError, journalSchema, postgresJournal } from '../../plugin/journal/postgres.ts'
import { entry, HOUR, newId, openDatabase, transact } from './helper.ts'

t.test('what is recorded is found as it was, and only once it is committed', async (t) => {
  const { pool, journal } = await openDatabase(t)
  const id = newId()
  await transact(pool, async (tx) => {
    await journal.record(tx, id, entry('\0ÿ', 3), HOUR)
    t.equal(await journal.find(id), null)
  })
  t.same(await journal.find(id), entry('\0ÿ', 3))
  t.equal(await journal.find(newId()), null)
})

t.test('an outcome without a response is found as one', async (t) => {
  const { journal } = await openDatabase(t)
  const id = newId()
  await journal.record(null, id, { ...entry(), outcome: { statusCode: 204, response: null } }, HOUR)
  t.same((await journal.find(id))?.outcome, { statusCode: 204, response: null })
})

t.test('what is rolled back was never there', async (t) => {
  const { pool, journal } = await openDatabase(t)
  const id = newId()
  await t.rejects(transact(pool, async (tx) => {
    await journal.record(tx, id, entry(), HOUR)
    throw new Error('no')
  }))
  t.equal(await journal.find(id), null)
})

t.test('a second record of one id is refused, and its transaction cannot commit', async (t) => {
  const { pool, journal, effects } = await openDatabase(t)
  const id = newId()
  await journal.record(null, id, entry('first'), HOUR)
  await transact(pool, async (tx) => {
    await tx.query(`INSERT INTO ${effects.table} DEFAULT VALUES`)
    await t.rejects(journal.record(tx, id, entry('second', 2), HOUR), JournalConflictError)
  })
  t.equal(await effects.count(), 0, 'COMMIT rolled back')
  t.same(await journal.find(id), entry('first'))
})

t.test('an entry that expired is not found, makes room for a new one, and is purged batch by batch', async (t) => {
  const { pool, journal, table } = await openDatabase(t, { purgeBatch: 2 })
  const old = Array.from({ length: 5 }, newId)
  for (const id of old) await journal.record(null, id, entry('old'), -1)
  const [again = ''] = old
  t.equal(await journal.find(again), null)
  await transact(pool, async tx => journal.record(tx, again, entry('new'), HOUR))
  t.same(await journal.find(again), entry('new'))
  const count = async (): Promise<number | null> => (await pool.query(`SELECT 1 FROM ${table}`)).rowCount
  t.same([await journal.purge(), await count()], [true, 3])
  t.same([await journal.purge(), await count()], [true, 1])
  t.same([await journal.purge(), await count()], [false, 1])
  t.same(await journal.find(again), entry('new'))
})

t.test('two processes that purge at once do not wait for each other', async (t) => {
  const { pool, journal, table } = await openDatabase(t, { purgeBatch: 1 })
  for (let i = 0; i < 2; i++) await journal.record(null, newId(), entry(), -1)
  await transact(pool, async (tx) => {
    await postgresJournal(tx, { table, purgeBatch: 1 }).purge()
    t.equal(await journal.purge(), true, 'the other one')
    t.equal(await journal.purge(), false, 'what is left is locked')
  })
  t.equal((await pool.query(`SELECT 1 FROM ${table}`)).rowCount, 0)
})

t.test('an app purges its journal while it runs, and stops when it closes', async (t) => {
  const { pool, journal, table, statements } = await openDatabase(t, { purgeInterval: 20, purgeBatch: 1 })
  for (let i = 0; i < 3; i++) await journal.record(null, newId(), entry(), -1)
  const kept = newId()
  await journal.record(null, kept, entry(), HOUR)
  const { app } = await build(t, { store: new MemoryStore(), journal })
  t.equal((await pool.query(`SELECT 1 FROM ${table}`)).rowCount, 4, 'not before it is ready')
  await app.ready()
  await until(async () => (await pool.query(`SELECT 1 FROM ${table}`)).rowCount === 1, 'the purge')
  t.ok(await journal.find(kept))
  await app.close()
  const purges = (): number => statements().filter(statement => statement.includes('SKIP LOCKED')).length
  const before = purges()
  // By the third tick of a timer like the journal's own, another purge would have begun.
  let ticks = 0
  const timer = setInterval(() => { ticks++ }, journal.purgeInterval)
  t.teardown(() => { clearInterval(timer) })
  await until(() => ticks === 3)
  t.equal(purges(), before)
})

t.test('a purge that fails is logged and tried again', async (t) => {
  const { pool, journal, table } = await openDatabase(t, { purgeInterval: 20 })
  await journal.record(null, newId(), entry(), -1)
  const { app, logged } = await build(t, { store: new MemoryStore(), journal })
  await app.ready()
  await pool.query(`ALTER TABLE ${table} RENAME TO ${table}_away`)
  await until(() => logged.some(({ msg }) => msg.includes('expired entries of the journal could not be deleted')))
  await pool.query(`ALTER TABLE ${table}_away RENAME TO ${table}`)
  await until(async () => (await pool.query(`SELECT 1 FROM ${table}`)).rowCount === 0)
})

t.test('createTable can be called again, and by the client of a migration’s transaction', async (t) => {
  const { pool, journal } = await openDatabase(t)
  await journal.createTable()
  const other = `journal_${randomUUID().replaceAll('-', '')}`
  await t.rejects(transact(pool, async (tx) => {
    await postgresJournal(pool, { table: other }).createTable(tx)
    await tx.query(`SELECT 1 FROM ${other}`)
    throw new Error('roll back')
  }), { message: 'roll back' })
  t.equal((await pool.query<{ found: string | null }>('SELECT to_regclass($1) AS found', [other])).rows[0]?.found, null)
})

t.test('journalSchema is a migration of plain SQL, also for a table in a schema', async (t) => {
  const { pool } = await openDatabase(t)
  const schema = `s_${randomUUID().replaceAll('-', '')}`
  await pool.query(`CREATE SCHEMA ${schema}`)
  t.teardown(() => pool.query(`DROP SCHEMA ${schema} CASCADE`))
  await pool.query(journalSchema(`${schema}.answers`))
  const journal = postgresJournal(pool, { table: `${schema}.answers` })
  const id = newId()
  await journal.record(null, id, entry(), HOUR)
  t.same(await journal.find(id), entry())
})

t.test('other clients with a query method do too: PGlite', async (t) => {
  const db = new PGlite()
  t.teardown(() => db.close())
  const journal = postgresJournal(db)
  await journal.createTable()
  const id = newId()
  await db.transaction(async tx => journal.record(tx, id, entry('\0ÿ'), HOUR))
  t.same(await journal.find(id), entry('\0ÿ'))
  await t.rejects(db.transaction(async tx => journal.record(tx, id, entry(), HOUR)), JournalConflictError)
  await journal.record(null, newId(), entry(), -1)
  t.equal(await journal.purge(), false)
  t.equal((await db.query('SELECT 1 FROM idempotency_journal')).rows.length, 1)
})

t.test('a wrong option is refused by name', async (t) => {
  const db = { query: async () => ({ rows: [] }) }
  t.throws(
    () => postgresJournal(undefined as never),
    /first argument must be a database client or pool with a query method/
  )
  t.throws(() => postgresJournal({} as never), /first argument/)
  for (const table of ['', 'Journal', 'a b', 'a.b.c', 'a"b', 'a;--', 'x'.repeat(60), 7]) {
    t.throws(
      () => postgresJournal(db, { table: table as string }),
      /option "table" must be a lower-case name such as "idempotency_journal"/,
      String(table)
    )
  }
  t.throws(
    () => postgresJournal(db, { timeout: 0 }),
    /option "timeout" must be a whole number of milliseconds from 1 to 2147483647, got 0/
  )
  t.throws(
    () => postgresJournal(db, { purgeInterval: -1 }),
    /option "purgeInterval" must be a whole number of milliseconds from 0 to 2147483647, got -1/
  )
  t.throws(
    () => postgresJournal(db, { purgeBatch: 1.5 }),
    /option "purgeBatch" must be a whole number of rows from 1 to 2147483647, got 1\.5/
  )
  t.throws(() => postgresJournal(db, { retention: 1 } as never), /unknown option "retention"; known are table, timeout/)
})
