import t from 'tap'
import { migrate } from '../../demo-app/db/migrate.ts'
import { createDatabase, createOrder, get, query, startApp } from './helper.ts'

t.test('eight migrations at the same moment on an empty database migrate it once', async (t) => {
  const databaseUrl = await createDatabase(t)
  await Promise.all(Array.from({ length: 8 }, () => migrate(databaseUrl, { demoCustomers: true })))
  t.same(await query(databaseUrl, 'SELECT version::int FROM schemaversion ORDER BY version'), [
    { version: 0 },
    { version: 1 },
    { version: 2 }
  ])
  t.same(await query(databaseUrl, 'SELECT name FROM customers ORDER BY name'), [{ name: 'alice' }, { name: 'bob' }])
})

t.test('what is in the database is still there after the next start', async (t) => {
  const databaseUrl = await createDatabase(t)
  const first = await startApp(t, { databaseUrl })
  const order = await createOrder(first.url)
  const { text } = await get(order)
  const second = await startApp(t, { databaseUrl })
  t.equal((await get(second.url + new URL(order).pathname)).text, text)
})

t.test('a migration that fails leaves nothing behind, and the next one starts afresh', async (t) => {
  const databaseUrl = await createDatabase(t)
  await query(databaseUrl, 'CREATE TABLE payments ()')
  await t.rejects(migrate(databaseUrl, { demoCustomers: true }), { code: '42P07' })
  const tables = await query(databaseUrl, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
  t.same(tables, [{ tablename: 'payments' }])
  await query(databaseUrl, 'DROP TABLE payments')
  await migrate(databaseUrl, { demoCustomers: true })
  t.equal((await query(databaseUrl, 'SELECT FROM customers')).length, 2)
})
