import { createHash } from 'node:crypto'
import pg from 'pg'
import { until } from '../helper.ts'
import type { Evidence } from './history.ts'
import type { World } from './world.ts'

/**
 * Waits until the sweepers have settled the payments that no client came back for, or until it is clear that they will
 * not.
 */
export async function untilNoneIsPaying (world: World, timeout: number): Promise<void> {
  const pool = new pg.Pool({ connectionString: world.postgres.url, max: 1 })
  pool.on('error', () => {})
  try {
    await until(async () => {
      const { rows } = await pool.query("SELECT FROM orders WHERE status = 'paying' LIMIT 1")
      return rows.length === 0
    }, 'the end of all payments', timeout)
  } catch {
    // The checker reports the payments that are left.
  } finally {
    await pool.end()
  }
}

/** What the provider and the database have recorded. */
export async function readBooks (world: World, keys: Iterable<string>): Promise<Evidence> {
  const pool = new pg.Pool({ connectionString: world.postgres.url, max: 1 })
  // Postgres may be stopped before a connection that was released is closed.
  pool.on('error', () => {})
  try {
    const { rows: orders } = await pool.query<Evidence['orders'][number]>(
      'SELECT id, status, amount::double precision AS amount FROM orders'
    )
    const { rows: payments } = await pool.query<Omit<Evidence['payments'][number], 'key'> & { operation: string }>(
      'SELECT id, order_id AS "orderId", status, amount::double precision AS amount, ' +
        "encode(operation, 'hex') AS operation FROM payments WHERE kind = 'capture'"
    )
    const { rows: [alice] } = await pool.query<{ id: string }>("SELECT id FROM customers WHERE name = 'alice'")
    const { rows: effects } = await pool.query<{ key: string }>('SELECT key FROM chaos_effects')
    const keyOf = new Map(Array.from(keys, key => [operationOf(alice?.id ?? '', key), key]))
    const { charges } = await world.provider.books()
    return {
      charges,
      orders,
      payments: payments.map(({ operation, ...payment }) => ({ ...payment, key: keyOf.get(operation) ?? null })),
      effects: effects.map(({ key }) => key)
    }
  } finally {
    await pool.end()
  }
}

/** The name that the demo's database gives to the operation of a key. */
function operationOf (scope: string, key: string): string {
  return createHash('sha256').update(JSON.stringify([scope, key])).digest('hex')
}
