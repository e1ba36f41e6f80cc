import t from 'tap'
import { JournalConflictError } from '../../plugin/journal/postgres.ts'
import { gate, until } from '../helper.ts'
import { entry, HOUR, newId, openDatabase, transact } from './helper.ts'

t.test('two hundred serializable payments that have nothing to do with each other all commit', async (t) => {
  const { pool, journal, table, effects } = await openDatabase(t, {}, { max: 20 })
  const outcomes = await Promise.allSettled(Array.from({ length: 200 }, async () => transact(pool, async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')
    await tx.query(`INSERT INTO ${effects.table} DEFAULT VALUES`)
    await journal.record(tx, newId(), entry(), HOUR)
  })))
  t.same(
    outcomes.flatMap(outcome => (outcome.status === 'rejected' ? [(outcome.reason as { code?: string }).code] : [])),
    []
  )
  t.equal((await pool.query(`SELECT 1 FROM ${table}`)).rowCount, 200)
})

t.test('a serializable transaction that records takes no lock on what it has read of the journal', async (t) => {
  const { pool, journal, table, effects } = await openDatabase(t)
  await transact(pool, async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')
    await tx.query(`INSERT INTO ${effects.table} DEFAULT VALUES`)
    await journal.record(tx, newId(), entry(), HOUR)
    const { rows } = await tx.query(`SELECT l.relation::regclass FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
      WHERE l.mode = 'SIReadLock' AND l.pid = pg_backend_pid() AND c.relname LIKE '${table}%'`)
    t.same(rows, [])
  })
})

for (const level of ['REPEATABLE READ', 'SERIALIZABLE']) {
  t.test(`in ${level} a transaction that met another one with its key fails as Postgres says (40001), ` +
    'and when it is tried again it is refused', async (t) => {
    const { pool, journal, effects } = await openDatabase(t)
    const id = newId()
    const first = gate()
    t.teardown(() => first.open())
    const codes: unknown[] = []
    const pids: number[] = []
    const attempt = async (hold: Promise<void> | null): Promise<void> => transact(pool, async (tx) => {
      await tx.query(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await tx.query(`INSERT INTO ${effects.table} DEFAULT VALUES`)
      const { rows: [own] } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      pids.push(own?.pid ?? 0)
      await journal.record(tx, id, entry(), HOUR)
      await hold
    })
    const one = attempt(first.opened)
    await until(() => pids.length === 1, 'the first has begun')
    await until(
      async () =>
        (
          await pool.query(
            "SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'idle in transaction' AND query LIKE '%WITH put%'",
            [pids[0]]
          )
        ).rowCount === 1,
      'the first has recorded'
    )
    const two = attempt(null).catch(async (error: { code?: string }) => {
      codes.push(error.code)
      return attempt(null)
    })
    await until(
      async () =>
        pids.length === 2 &&
        (await pool.query("SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'", [pids[1]]))
          .rowCount === 1,
      'the second waits for the first'
    )
    first.open()
    await one
    await t.rejects(two, JournalConflictError)
    t.same(codes, ['40001'])
    t.equal(await effects.count(), 1)
  })
}

t.test('a look and a purge read by index only what they want, however many rows live', async (t) => {
  const { pool, journal, table, statements } = await openDatabase(t)
  await pool.query(`INSERT INTO ${table} (id, fingerprint, attempt, owner, status, expires_at)
    SELECT sha256(n::text::bytea), sha256('f'), 1, 'o', 200, now() + interval '1 day'
    FROM generate_series(1, 20000) AS n`)
  await pool.query(`ANALYZE ${table}`)
  await journal.purge()
  await journal.find(newId())
  const plan = async (part: string, value: unknown): Promise<string> => {
    const statement = statements().findLast(statement => statement.includes(part)) ?? ''
    const { rows } = await pool.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) ${statement}`,
      [value]
    )
    return rows.map(row => row['QUERY PLAN']).join('\n')
  }
  const purge = await plan('SKIP LOCKED', 1_000)
  t.match(purge, /Index Cond: \(expires_at <= statement_timestamp\(\)\)/)
  t.notMatch(purge, /Rows Removed by Filter|Seq Scan/)
  const find = await plan('SELECT fingerprint', Buffer.alloc(32))
  t.match(find, /Index Cond: \(id = /)
  t.notMatch(find, /Seq Scan/)
})
