import type { ClientBase, Pool } from 'pg'
import { move } from './status.ts'
import type { OrderStatus } from './status.ts'

export interface Order {
  id: string
  /** In minor units (cents). */
  amount: number
  currency: string
  reference: string | null
  status: OrderStatus
  version: number
  createdAt: Date
}

/** A customer's request to change an order, as part of one operation. */
export interface Command {
  orderId: string
  customerId: string
  operation: Buffer
}

/** The order was changed between the reading and the writing, by somebody who did not hold its lock. */
export class VersionConflictError extends Error {
  override name = 'VersionConflictError'
}

export type Queryable = Pick<ClientBase | Pool, 'query'>
/** `pg` returns a bigint as a string, because a number cannot represent every bigint. */
type Row = Omit<Order, 'amount'> & { amount: string }

const ORDER = 'id, amount, currency, reference, status, version, created_at AS "createdAt"'

/** Creates an order. Returns `null` if this operation has already created one. */
export async function insertOrder (
  db: Queryable,
  order: Pick<Order, 'amount' | 'currency' | 'reference'> & Omit<Command, 'orderId'>
): Promise<Order | null> {
  const { rows: [row] } = await db.query<Row>(
    `INSERT INTO orders (customer_id, operation, amount, currency, reference) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (operation) DO NOTHING RETURNING ${ORDER}`,
    [order.customerId, order.operation, order.amount, order.currency, order.reference])
  return row === undefined ? null : withNumber(row)
}

export async function findCreatedOrder (
  db: Queryable, { customerId, operation }: Omit<Command, 'orderId'>
): Promise<Order | null> {
  const { rows: [row] } = await db.query<Row>(
    `SELECT ${ORDER} FROM orders WHERE operation = $1 AND customer_id = $2`, [operation, customerId])
  return row === undefined ? null : withNumber(row)
}

/** Does not find the orders of other customers, so nobody learns that these exist. */
export async function findOrder (
  db: Queryable, { orderId, customerId }: Omit<Command, 'operation'>, { lock = false } = {}
): Promise<Order | null> {
  const { rows: [row] } = await db.query<Row>(
    `SELECT ${ORDER} FROM orders WHERE id = $1 AND customer_id = $2 ${lock ? 'FOR UPDATE' : ''}`,
    [orderId, customerId])
  return row === undefined ? null : withNumber(row)
}

/** For verdicts of the provider, which belong to no customer's request. */
export async function lockOrder (db: Queryable, orderId: string): Promise<Order> {
  const { rows: [row] } = await db.query<Row>(`SELECT ${ORDER} FROM orders WHERE id = $1 FOR UPDATE`, [orderId])
  if (row === undefined) throw new Error('the order of a payment is missing')
  return withNumber(row)
}

/** Changes the status of the order, if the move is legal and nobody has changed the order since it was read. */
export async function moveOrder (
  db: Queryable, { id, status, version }: Pick<Order, 'id' | 'status' | 'version'>, to: OrderStatus
): Promise<void> {
  const { rowCount } = await db.query(
    'UPDATE orders SET status = $3, version = version + 1, updated_at = now() WHERE id = $1 AND version = $2',
    [id, version, move(status, to)])
  if (rowCount !== 1) throw new VersionConflictError(`order ${id} is no longer at version ${version}`)
}

/** The conversion is exact: the schema of the route and a CHECK of the table both keep amounts below 2^53. */
function withNumber (row: Row): Order {
  return { ...row, amount: Number(row.amount) }
}
