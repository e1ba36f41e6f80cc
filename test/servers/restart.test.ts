import pg from 'pg'
import t from 'tap'
import { startPostgres } from './postgres.ts'

t.test('a Postgres that crashes breaks its connections, and comes back on its port with all commits', async (t) => {
  const server = await startPostgres()
  t.teardown(() => server.stop())
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: server.url })
    await client.connect()
    return client
  }
  const before = await connect()
  const broken = new Promise((resolve) => { before.once('error', resolve) })
  await before.query('CREATE TABLE kept (id integer)')
  await before.query('INSERT INTO kept VALUES (1)')
  const { pid, url } = server
  await server.restart()
  await broken
  t.not(server.pid, pid)
  t.equal(server.url, url)
  const after = await connect()
  t.same((await after.query('SELECT id FROM kept')).rows, [{ id: 1 }])
  await after.end()
})
