import { findPayment, insertPayment, moveOrder } from './store.ts'
import type { Command, Payment } from './store.ts'
import { move } from './status.ts'
import { moving } from './transaction.ts'
import type { Database } from './transaction.ts'

export interface RefundCommand extends Command {
  reason: string | null
}

export interface Refund {
  orderId: string
  refundId: string
  amount: number
  currency: string
  status: 'refunded'
  reason: string | null
  refundedAt: string
}

/** The whole amount, once. The same lock, check, update as in `payOrder`. */
export function refundOrder (db: Database, command: RefundCommand): Promise<Refund> {
  return moving(db, command, 'refunded', async (client, order) => {
    if (order.status === 'refunded') {
      const earlier = await findPayment(client, order.id, 'refund', command.operation)
      if (earlier !== null && earlier.reason === command.reason) return refundOf(order.id, earlier)
    }
    move(order.status, 'refunded')
    const payment = await insertPayment(client, order, {
      kind: 'refund', reason: command.reason, operation: command.operation
    })
    await moveOrder(client, order, 'refunded')
    return refundOf(order.id, payment)
  })
}

function refundOf (orderId: string, { id, amount, currency, reason, createdAt }: Payment): Refund {
  return { orderId, refundId: id, amount, currency, status: 'refunded', reason, refundedAt: createdAt.toISOString() }
}
