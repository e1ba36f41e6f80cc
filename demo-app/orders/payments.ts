import type { Order, Queryable } from './store.ts'

export type PaymentKind = 'capture' | 'refund'

/** A charge or a refund at the provider: one that moved money, or may move it. */
export interface Payment {
  /** Also the number under which the provider knows it. */
  id: string
  orderId: string
  kind: PaymentKind
  /** `started`: the app has asked the provider or is about to, and does not know the answer. */
  status: 'started' | 'done' | 'declined'
  method: 'card' | 'wallet' | null
  amount: number
  currency: string
  reason: string | null
  operation: Buffer
  settledAt: Date | null
}

/** `pg` returns a bigint as a string, because a number cannot represent every bigint. */
type Row = Omit<Payment, 'amount'> & { amount: string }

const PAYMENT = 'id, order_id AS "orderId", kind, status, method, amount, currency, reason, operation, ' +
  'settled_at AS "settledAt"'

export async function startPayment (
  db: Queryable,
  order: Order,
  payment: Pick<Payment, 'kind' | 'operation'> & Partial<Pick<Payment, 'method' | 'reason'>>
): Promise<Payment> {
  return one(await db.query<Row>(
    `INSERT INTO payments (order_id, kind, status, method, amount, currency, reason, operation)
     VALUES ($1, $2, 'started', $3, $4, $5, $6, $7) RETURNING ${PAYMENT}`,
    [order.id, payment.kind, payment.method, order.amount, order.currency, payment.reason, payment.operation]))
}

/**
 * The payment of this operation, also if it was declined. A declined payment stays declined: its client knows that, and
 * a retry must not charge after all.
 */
export async function findPayment (
  db: Queryable,
  orderId: string,
  kind: PaymentKind,
  operation: Buffer
): Promise<Payment | null> {
  const { rows: [row] } = await db.query<Row>(
    `SELECT ${PAYMENT} FROM payments WHERE order_id = $1 AND kind = $2 AND operation = $3`,
    [orderId, kind, operation])
  return row === undefined ? null : withNumber(row)
}

export async function findPaymentByNumber (db: Queryable, id: string): Promise<Payment | null> {
  const { rows: [row] } = await db.query<Row>(`SELECT ${PAYMENT} FROM payments WHERE id = $1`, [id])
  return row === undefined ? null : withNumber(row)
}

/** The charge that a refund pays back. */
export async function findCapture (db: Queryable, orderId: string): Promise<Payment> {
  return one(await db.query<Row>(
    `SELECT ${PAYMENT} FROM payments WHERE order_id = $1 AND kind = 'capture' AND status = 'done'`, [orderId]))
}

/** Started payments that no process has worked on for this many milliseconds, the oldest first. */
export async function findAbandoned (db: Queryable, milliseconds: number, limit: number): Promise<Payment[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${PAYMENT} FROM payments
     WHERE status = 'started' AND touched_at < now() - $1::bigint * interval '1 millisecond' ` +
    'ORDER BY touched_at LIMIT $2',
    [milliseconds, limit])
  return rows.map(withNumber)
}

export async function touchPayment (db: Queryable, id: string): Promise<void> {
  await db.query('UPDATE payments SET touched_at = now() WHERE id = $1', [id])
}

export async function settlePayment (
  db: Queryable,
  id: string,
  status: 'done' | 'declined',
  tradeNo: string | null
): Promise<Payment> {
  return one(await db.query<Row>(
    `UPDATE payments SET status = $2, trade_no = $3, settled_at = now(), touched_at = now()
     WHERE id = $1 AND status = 'started' RETURNING ${PAYMENT}`,
    [id, status, tradeNo]))
}

function one ({ rows: [row] }: { rows: Row[] }): Payment {
  if (row === undefined) throw new Error('a payment that must exist is missing')
  return withNumber(row)
}

/** The conversion is exact: the schema of the route and a CHECK of the table both keep amounts below 2^53. */
function withNumber (row: Row): Payment {
  return { ...row, amount: Number(row.amount) }
}
