import type { Order, Queryable } from './store.ts'

export type PaymentKind = 'capture' | 'refund'

/** Money that moves, or is about to, at the provider. */
export interface Payment {
  /** Also the number that the provider knows it by. */
  id: string
  orderId: string
  kind: PaymentKind
  /** `started`: the provider has been or is about to be asked, and its answer is not known here. */
  status: 'started' | 'done' | 'declined'
  method: 'card' | 'wallet' | null
  amount: number
  currency: string
  reason: string | null
  operation: Buffer
  settledAt: Date | null
}

/** `pg` hands a bigint out as a string, since not each of them is a number. */
type Row = Omit<Payment, 'amount'> & { amount: string }

const PAYMENT = 'id, order_id AS "orderId", kind, status, method, amount, currency, reason, operation, settled_at AS "settledAt"'

export async function startPayment (
  db: Queryable, order: Order, payment: Pick<Payment, 'kind' | 'operation'> & Partial<Pick<Payment, 'method' | 'reason'>>
): Promise<Payment> {
  return one(await db.query<Row>(
    `INSERT INTO payments (order_id, kind, status, method, amount, currency, reason, operation)
     VALUES ($1, $2, 'started', $3, $4, $5, $6, $7) RETURNING ${PAYMENT}`,
    [order.id, payment.kind, payment.method, order.amount, order.currency, payment.reason, payment.operation]))
}

/**
 * What this operation has started, done or been declined. One that was declined stays so: its client was told, and must
 * not be charged by a retry after all.
 */
export async function findPayment (db: Queryable, orderId: string, kind: PaymentKind, operation: Buffer): Promise<Payment | null> {
  const { rows: [row] } = await db.query<Row>(
    `SELECT ${PAYMENT} FROM payments WHERE order_id = $1 AND kind = $2 AND operation = $3`,
    [orderId, kind, operation])
  return row === undefined ? null : withNumber(row)
}

export async function findPaymentByNumber (db: Queryable, id: string): Promise<Payment | null> {
  const { rows: [row] } = await db.query<Row>(`SELECT ${PAYMENT} FROM payments WHERE id = $1`, [id])
  return row === undefined ? null : withNumber(row)
}

/** The charge that a refund gives back. */
export async function findCapture (db: Queryable, orderId: string): Promise<Payment> {
  return one(await db.query<Row>(
    `SELECT ${PAYMENT} FROM payments WHERE order_id = $1 AND kind = 'capture' AND status = 'done'`, [orderId]))
}

/** Those that nobody has worked on for this many milliseconds. */
export async function findAbandoned (db: Queryable, milliseconds: number, limit: number): Promise<Payment[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${PAYMENT} FROM payments
     WHERE status = 'started' AND touched_at < now() - $1::bigint * interval '1 millisecond' ORDER BY touched_at LIMIT $2`,
    [milliseconds, limit])
  return rows.map(withNumber)
}

export async function touchPayment (db: Queryable, id: string): Promise<void> {
  await db.query('UPDATE payments SET touched_at = now() WHERE id = $1', [id])
}

export async function settlePayment (
  db: Queryable, id: string, status: 'done' | 'declined', tradeNo: string | null
): Promise<Payment> {
  return one(await db.query<Row>(
    `UPDATE payments SET status = $2, trade_no = $3, settled_at = now(), touched_at = now()
     WHERE id = $1 AND status = 'started' RETURNING ${PAYMENT}`,
    [id, status, tradeNo]))
}

function one ({ rows: [row] }: { rows: Row[] }): Payment {
  if (row === undefined) throw new Error('a payment that must be there is not')
  return withNumber(row)
}

/** Exact: the schema of the route and a CHECK of the table both keep amounts below 2^53. */
function withNumber (row: Row): Payment {
  return { ...row, amount: Number(row.amount) }
}
