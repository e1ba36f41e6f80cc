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
  /** Begun by an earlier attempt: whether the provider was asked then is not known. */
  resumed: boolean
}

const VIA = { capture: 'paying', refund: 'refunding' } as const

/**
 * The first phase, before the provider is asked: lock the order, check its status, and mark it. From here on no other
 * operation can pay or refund it, and whoever finds it marked knows by which number to ask the provider.
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
      throw new Problem(409, 'ORDER_IN_PROGRESS', `The order is ${via} in the name of another key.`, { orderStatus: via }, { retryable: true })
    }
    move(order.status, via)
    if (earlier !== null) throw new Problem(409, 'OPERATION_EXISTS', 'This key has been used with other terms before. Use a new key.')
    const payment = await startPayment(client, order, { ...terms, operation: command.operation })
    await moveOrder(client, order, via)
    return { payment, resumed: false }
  })
}
