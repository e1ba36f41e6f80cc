import { randomInt } from 'node:crypto'
import pg from 'pg'
import t from 'tap'
import { build, until } from '../helper.ts'
import { Proxy } from '../chaos/proxy.ts'
import { openDatabase, transact } from './helper.ts'

t.test('a connection lost during the commit: the outcome is unknown, so the client is told to try again, ' +
  'and the retry gets what was committed', async (t) => {
  const { pool, journal, table, effects } = await openDatabase(t)
  const database = new URL(process.env.DATABASE_URL ?? '')
  const proxy = await Proxy.listen(() => Number(database.port))
  const via = new URL(database)
  via.host = `127.0.0.1:${proxy.port}`
  const proxied = new pg.Pool({ connectionString: via.href })
  proxied.on('error', () => {}).on('connect', (client) => { client.on('error', () => {}) })
  t.teardown(async () => {
    await proxied.end()
    await proxy.close()
  })
  // The commit takes as long as the test wants, in the server: a trigger waits for a lock that the test holds.
  const lock = randomInt(2 ** 31)
  const slow = `slow_${effects.table}`
  await pool.query(
    `CREATE FUNCTION ${slow} () RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(${lock}); ` +
      'RETURN NULL; END $$'
  )
  await pool.query(
    `CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ${effects.table} DEFERRABLE INITIALLY DEFERRED ` +
      `FOR EACH ROW EXECUTE FUNCTION ${slow} ()`
  )
  t.teardown(() => pool.query(`DROP FUNCTION ${slow} CASCADE`))
  const holder = await pool.connect()
  t.teardown(() => holder.release(true))
  await holder.query('SELECT pg_advisory_lock($1)', [lock])
  const some = async (sql: string, values: unknown[]): Promise<boolean> =>
    (await pool.query(sql, values)).rows.length > 0
  const committing = async () =>
    some("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted", [lock])
  const secondWaits = async () =>
    some("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", [`%INSERT INTO "${table}"%`])

  const { app, listen } = await build(t, { journal })
  let run = 0
  app.post('/pay', { config: { idempotency: true } }, async request => transact(proxied, async (tx) => {
    const receipt = { receipt: ++run }
    await tx.query(`INSERT INTO ${effects.table} DEFAULT VALUES`)
    return request.idempotency?.complete(tx, { body: receipt })
  }))
  const client = await listen()
  const first = client.post('/pay', 'k')
  await until(committing, 'the commit')
  proxy.cut()
  proxy.heal()
  t.equal((await first).status, 500)
  t.match(await app.idempotency.find('k', 'global'), { state: 'released', attempt: 1 })
  const retry = client.post('/pay', 'k')
  // The server has not noticed that its client is gone: the first transaction is still being committed.
  await until(secondWaits, 'the second attempt waits for the first')
  await holder.query('SELECT pg_advisory_unlock($1)', [lock])
  t.match(await retry, { status: 200, text: '{"receipt":1}', replayed: true })
  t.equal(run, 2)
  t.equal(await effects.count(), 1)
  t.match(await client.post('/pay', 'k'), { status: 200, text: '{"receipt":1}', replayed: true })
})
