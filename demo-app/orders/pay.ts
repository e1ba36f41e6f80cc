import { findPayment, insertPayment, moveOrder } from './store.ts'
import type { Command, Payment } from './store.ts'
import { move } from './status.ts'
import { moving } from './transaction.ts'
import type { Database } from './transaction.ts'

export interface PayCommand extends Command {
  method: 'card' | 'wallet'
}

export interface Receipt {
  orderId: string
  paymentId: string
  amount: number
  currency: string
  status: 'paid'
  paidAt: string
}

/** Lock, check, update. The lock on the key is the plugin's; this one, on the row, holds against every other key too. */
export function payOrder (db: Database, command: PayCommand): Promise<Receipt> {
  // Lock: whoever pays this order meanwhile waits here until we commit.
  return moving(db, command, 'paid', async (client, order) => {
    // Check: a charge of this very operation is the work of an earlier attempt that died before it could answer.
    // The client gets the receipt that it would have got then.
    if (order.status !== 'pending') {
      const earlier = await findPayment(client, order.id, 'capture', command.operation)
      if (earlier !== null && earlier.method === command.method) return receiptOf(order.id, earlier)
    }
    move(order.status, 'paid')

    // Update: the charge and the status, both or neither.
    const payment = await insertPayment(client, order, {
      kind: 'capture', method: command.method, operation: command.operation
    })
    await moveOrder(client, order, 'paid')
    return receiptOf(order.id, payment)
  })
}

/** Made of the stored payment alone, so that it is the same whenever it is made. */
function receiptOf (orderId: string, { id, amount, currency, createdAt }: Payment): Receipt {
  return { orderId, paymentId: id, amount, currency, status: 'paid', paidAt: createdAt.toISOString() }
}
