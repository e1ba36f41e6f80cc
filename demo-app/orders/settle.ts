import type { PoolClient } from 'pg'
import { findPaymentByNumber, settlePayment } from './payments.ts'
import type { Payment } from './payments.ts'
import { lockOrder, moveOrder } from './store.ts'

/** What the provider finally says of a payment. */
export interface Verdict {
  status: 'done' | 'declined'
  tradeNo: string | null
}

const BECOMES = {
  capture: { done: 'paid', declined: 'pending' },
  refund: { done: 'refunded', declined: 'paid' }
} as const

/**
 * The last phase: the payment's end and the order's new status, both or neither. Whoever learns of the verdict first
 * (the attempt, a retry, the provider's notification, the sweeper) writes it; the others find it written.
 */
export async function settle (client: PoolClient, { id, orderId, kind }: Payment, { status, tradeNo }: Verdict): Promise<Payment> {
  const order = await lockOrder(client, orderId)
  const payment = await findPaymentByNumber(client, id)
  if (payment === null) throw new Error('a payment that was started is not there')
  if (payment.status !== 'started') return payment
  await moveOrder(client, order, BECOMES[kind][status])
  return settlePayment(client, id, status, tradeNo)
}
