import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import type { Test } from 'tap'
import { buildApp } from '../../demo-app/app.ts'
import type { AppOptions } from '../../demo-app/app.ts'
import { DEMO_TOKENS } from '../../demo-app/auth.ts'
import { connectRedis, newPrefix, until } from '../helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'

export { connectRedis, newPrefix, until }

export const ALICE = DEMO_TOKENS.alice
export const BOB = DEMO_TOKENS.bob

/** The Postgres that `npm test` started or was given. */
function serverUrl (): string {
  const url = process.env.DATABASE_URL
  if (!url) throw new Error('DATABASE_URL is not set: run the tests with "npm test"')
  return url
}

/** Creates a database for the test, and drops it when the test is over. */
export async function createDatabase (t: Test, { encoding = 'UTF8' } = {}): Promise<string> {
  const name = `demo_${randomUUID().replaceAll('-', '')}`
  await query(serverUrl(), `CREATE DATABASE ${name} ENCODING '${encoding}' LOCALE 'C' TEMPLATE template0`)
  // Teardowns run from the last to the first, so all users of the database are closed by then.
  t.teardown(() => query(serverUrl(), `DROP DATABASE ${name} WITH (FORCE)`))
  const url = new URL(serverUrl())
  url.pathname = `/${name}`
  return url.href
}

/** Queries the database without the app. */
export async function query<T extends pg.QueryResultRow> (
  databaseUrl: string,
  sql: string,
  values?: unknown[]
): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<T>(sql, values).finally(() => client.end())
  return rows
}

export interface TestApp {
  app: FastifyInstance
  url: string
}

/** Starts the app on a real socket, by default on Redis with a key prefix of its own. */
export async function startApp (
  t: Test, { idempotency = {}, ...options }: Pick<AppOptions, 'databaseUrl'> & Partial<AppOptions>
): Promise<TestApp> {
  const prefix = newPrefix()
  const redis = options.redis === undefined ? connectRedis(t, { prefix }) : options.redis
  const provider = options.provider ?? (await startSandboxProvider(t)).options
  const app = await buildApp({
    ...options,
    provider,
    redis,
    idempotency: { storeTimeout: 60_000, ...(redis !== null && { keyPrefix: prefix }), ...idempotency }
  })
  t.teardown(() => app.close())
  return { app, url: await app.listen({ host: '127.0.0.1', port: 0 }) }
}

export interface LogLine {
  level: number
  msg: string
  attempt?: number
}

/** A logger that keeps its lines. */
export function keepLog () {
  const lines: string[] = []
  return {
    logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } },
    text: () => lines.join(''),
    find: (message: string) => lines.map(line => JSON.parse(line) as LogLine).find(({ msg }) => msg === message)
  }
}

export interface Answer {
  status: number
  headers: Headers
  text: string
  json: Record<string, unknown>
  replayed: boolean
}

interface Caller {
  token?: string
  key?: string
}

export function get (url: string, { token = ALICE }: Caller = {}): Promise<Answer> {
  return request(url, { headers: { authorization: `Bearer ${token}` } })
}

/** Sends a write, by default with a new key. */
export function post (url: string, body: object, { token = ALICE, key = randomUUID() }: Caller = {}): Promise<Answer> {
  return request(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(body)
  })
}

export async function request (url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: JSON.parse(text) as Answer['json'],
    replayed: response.headers.get('idempotent-replayed') === 'true'
  }
}

/** Creates an order of 19.99 EUR and returns its URL. */
export async function createOrder (url: string, { token = ALICE }: Caller = {}): Promise<string> {
  const { headers, status, text } = await post(`${url}/orders`, { amount: 1999, currency: 'EUR' }, { token })
  const location = headers.get('location')
  if (location === null) throw new Error(`no order: ${status} ${text}`)
  return url + location
}

export function idOf (order: string): string {
  return order.slice(order.lastIndexOf('/') + 1)
}

export async function countPayments (databaseUrl: string, order: string): Promise<number> {
  const [row] = await query<{ count: number }>(
    databaseUrl, 'SELECT count(*)::int AS count FROM payments WHERE order_id = $1', [idOf(order)])
  return row?.count ?? NaN
}

export interface HeldOrder {
  /** Waits until this many handlers wait for the order. */
  waitedFor (handlers: number): Promise<void>
  letGo (): Promise<unknown>
}

/** Locks the order's row like another payment, so that the handlers wait until the test lets the row go. */
export async function holdOrder (t: Test, databaseUrl: string, order: string): Promise<HeldOrder> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('BEGIN')
  await client.query('SELECT FROM orders WHERE id = $1 FOR UPDATE', [idOf(order)])
  return {
    waitedFor: handlers => until(async () => {
      // On another connection, because a transaction always sees the same snapshot of the activity.
      const waiting = await query(databaseUrl,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
      return waiting.length === handlers
    }, `${handlers} handlers wait for the order`),
    letGo: () => client.query('ROLLBACK')
  }
}
