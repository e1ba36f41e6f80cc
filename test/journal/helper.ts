import { createHash, randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import type { Test } from 'tap'
import { postgresJournal } from '../../plugin/journal/postgres.ts'
import type { JournalEntry, PostgresJournal, PostgresJournalOptions } from '../../plugin/journal/postgres.ts'

/** The Postgres that `npm test` started or that the environment gave. */
const DATABASE_URL = process.env.DATABASE_URL

export interface Database {
  pool: pg.Pool
  journal: PostgresJournal
  /** The journal's table. */
  table: string
  /** What the handlers of this test do: a table with a row for each effect. */
  effects: { table: string, count (): Promise<number> }
  /** Runs in one transaction: an effect, and whatever `work` does. */
  charge<T> (work: (tx: pg.PoolClient) => Promise<T>): Promise<T>
  /** The statements that the clients of the pool sent so far. */
  statements (): string[]
}

/** A journal and a table for effects. Their names belong to this test, and they are dropped when the test is over. */
export async function openDatabase (
  t: Test,
  options: PostgresJournalOptions = {},
  { max = 6 } = {}
): Promise<Database> {
  if (!DATABASE_URL) throw new Error('DATABASE_URL is not set: run the tests with "npm test"')
  const suffix = randomUUID().replaceAll('-', '').slice(0, 12)
  const table = `journal_${suffix}`
  const effects = `effects_${suffix}`
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max })
  pool.on('error', () => {})
  const statements: string[] = []
  pool.on('connect', (client) => {
    client.on('error', () => {})
    const query = client.query.bind(client) as (...args: unknown[]) => unknown
    client.query = ((...args: unknown[]) => {
      statements.push(String(args[0]))
      return query(...args)
    }) as typeof client.query
  })
  const journal = postgresJournal(pool, { table, ...options })
  await journal.createTable()
  await pool.query(`CREATE TABLE ${effects} (at timestamptz NOT NULL DEFAULT now())`)
  t.teardown(async () => {
    await pool.query(`DROP TABLE IF EXISTS ${table}, ${effects}`)
    await pool.end()
  })
  return {
    pool,
    journal,
    table,
    effects: {
      table: effects,
      async count () {
        const { rows: [row] } = await pool.query<{ n: number }>(`SELECT count(*)::integer AS n FROM ${effects}`)
        return row?.n ?? NaN
      }
    },
    charge: work => transact(pool, async (tx) => {
      await tx.query(`INSERT INTO ${effects} DEFAULT VALUES`)
      return work(tx)
    }),
    statements: () => statements
  }
}

/** Does the same as `app.pg.transact`. */
export async function transact<T> (pool: pg.Pool, work: (tx: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let failure: Error | undefined
  try {
    await client.query('BEGIN')
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    failure = error as Error
    await client.query('ROLLBACK').catch(() => {})
    throw error
  } finally {
    client.release(failure?.message.includes('terminat') === true)
  }
}

/** A protected POST /pay that charges once for each call and completes with `{ receipt: run }`. */
export function payRoute (
  app: FastifyInstance,
  { charge }: Pick<Database, 'charge'>,
  beforeCommit: (run: number) => Promise<void> | void = () => {}
): { runs (): number } {
  let runs = 0
  app.post('/pay', { config: { idempotency: true } }, async (request) => {
    const run = ++runs
    return charge(async (tx) => {
      const receipt = await request.idempotency?.complete(tx, { body: { receipt: run } })
      await beforeCommit(run)
      return receipt
    })
  })
  return { runs: () => runs }
}

export const HOUR = 3_600_000

export function newId (): string {
  return createHash('sha256').update(randomUUID()).digest('base64url')
}

export function entry (body = 'done', attempt = 1): JournalEntry {
  return {
    fingerprint: createHash('sha256').update('request').digest('base64url'),
    attempt,
    owner: 'somebody',
    outcome: {
      statusCode: 201,
      response: {
        headers: [
          ['content-type', 'text/plain'],
          ['x-a', ['1', '2']],
          ['x-b', null]
        ],
        body: Buffer.from(body)
      }
    }
  }
}
