import type { PoolClient } from 'pg'
import { findPaymentByNumber, settlePayment } from './payments.ts'
import type { Payment } from './payments.ts'
import { lockOrder, moveOrder } from './store.ts'

/** The provider's final answer about a payment. */
export interface Verdict {
  status: 'done' | 'declined'
  tradeNo: string | null
}

/** The status of the order after the verdict. */
const BECOMES = {
  capture: { done: 'paid', declined: 'pending' },
  refund: { done: 'refunded', declined: 'paid' }
} as const

/**
 * The last phase: stores the verdict of the payment and the new status of the order in one transaction. The first one
 * with the verdict (the attempt, a retry, the provider's notification or the sweeper) stores it. The others find it.
 */
export async function settle (
  client: PoolClient,
  { id, orderId, kind }: Payment,
  { status, tradeNo }: Verdict
): Promise<Payment> {
  const order = await lockOrder(client, orderId)
  const payment = await findPaymentByNumber(client, id)
  if (payment === null) throw new Error('a payment that was started is missing')
  if (payment.status !== 'started') return payment
  await moveOrder(client, order, BECOMES[kind][status])
  return settlePayment(client, id, status, tradeNo)
}
