import { Problem } from '../problems.ts'
import { findPayment, startPayment, touchPayment } from './payments.ts'
import type { Payment } from './payments.ts'
import { move } from './status.ts'
import { moveOrder } from './store.ts'
import type { Command } from './store.ts'
import { moving } from './transaction.ts'
import type { Database } from './transaction.ts'

export type Terms = Pick<Payment, 'kind'> & Partial<Pick<Payment, 'method' | 'reason'>>

export interface Begun {
  payment: Payment
  /** Whether an earlier attempt began it. It is not known whether that attempt asked the provider. */
  resumed: boolean
}

/** The status of the order while the provider is asked. */
const VIA = { capture: 'paying', refund: 'refunding' } as const

/**
 * The first phase, before the provider is asked: locks the order, checks its status, and marks it. From then on, no
 * other operation can pay or refund the order, and the database has the number under which to ask the provider.
 */
export function begin (db: Database, command: Command, terms: Terms): Promise<Begun> {
  const via = VIA[terms.kind]
  return moving(db, command, via, async (client, order) => {
    const earlier = await findPayment(client, order.id, terms.kind, command.operation)
    if (earlier !== null && earlier.method === (terms.method ?? null) && earlier.reason === (terms.reason ?? null)) {
      await touchPayment(client, earlier.id)
      return { payment: earlier, resumed: true }
    }
    if (order.status === via) {
      throw new Problem(409, 'ORDER_IN_PROGRESS',
        `A request with another key is ${via} this order.`, { orderStatus: via }, { retryable: true })
    }
    move(order.status, via)
    if (earlier !== null) {
      throw new Problem(409, 'OPERATION_EXISTS', 'This key has been used with other terms before. Use a new key.')
    }
    const payment = await startPayment(client, order, { ...terms, operation: command.operation })
    await moveOrder(client, order, via)
    return { payment, resumed: false }
  })
}
