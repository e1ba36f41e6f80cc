import { join } from 'node:path'
import pg from 'pg'
import Postgrator from 'postgrator'
import { journalSchema } from '../../plugin/journal/postgres.ts'
import { seedDemoCustomers } from '../auth.ts'
import { ConfigError } from '../settings.ts'

/** Any number that nothing else in the database locks. */
const MIGRATION_LOCK = 4_907_231

/**
 * Brings the database up to date in one transaction that holds a lock. If two processes start at once on an empty
 * database, the second one waits and then finds nothing to do. A process that dies in the middle leaves nothing behind.
 * @throws {ConfigError} for a database that cannot store all text
 */
export async function migrate (databaseUrl: string, { demoCustomers }: { demoCustomers: boolean }): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 })
  await client.connect()
  try {
    await requireUtf8(client)
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    const postgrator = new Postgrator({
      driver: 'pg',
      // Escapes a `[` in the path of the project, which would begin a pattern.
      migrationPattern: join(import.meta.dirname, 'migrations').replaceAll('[', '[[]') + '/*.sql',
      execQuery: query => client.query(query)
    })
    await postgrator.migrate()
    await client.query(journalSchema())
    if (demoCustomers) await seedDemoCustomers(client)
    await client.query('COMMIT')
  } finally {
    // If there was no COMMIT, the end of the connection rolls everything back.
    await client.end()
  }
}

async function requireUtf8 (client: pg.Client): Promise<void> {
  const { rows: [row] } = await client.query<{ server_encoding: string }>('SHOW server_encoding')
  if (row?.server_encoding === 'UTF8') return
  throw new ConfigError(
    `DATABASE_URL must name a database in UTF8: one in ${row?.server_encoding} cannot store all text that clients send`)
}
