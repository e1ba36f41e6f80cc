import { Problem } from '../problems.ts'
import type { Complete } from './complete.ts'
import { findCreatedOrder, insertOrder } from './store.ts'
import type { Command, Order } from './store.ts'
import type { Database } from './transaction.ts'

export type CreateCommand = Omit<Command, 'orderId'> & Pick<Order, 'amount' | 'currency' | 'reference'>

/** The part of an order that the client sees. */
export interface OrderAnswer {
  id: string
  amount: number
  currency: string
  reference: string | null
  status: string
  createdAt: string
}

/**
 * Creates an order. If this operation has already created one, the answer is that order as it was when it was new: the
 * order is still there when its entry in the journal has expired.
 */
export async function createOrder (db: Database, command: CreateCommand, complete: Complete): Promise<OrderAnswer> {
  return db.transact(async (client) => {
    const order = await insertOrder(client, command) ?? await createdBefore(client, command)
    const answer = answerOf(order)
    return complete(client, { statusCode: 201, headers: { location: `/orders/${order.id}` }, body: answer })
  })
}

async function createdBefore (client: Parameters<typeof findCreatedOrder>[0], command: CreateCommand): Promise<Order> {
  const earlier = await findCreatedOrder(client, command)
  if (earlier === null || !sameTerms(earlier, command)) {
    throw new Problem(409, 'OPERATION_EXISTS', 'This key has created another order before. Use a new key.')
  }
  return { ...earlier, status: 'pending' }
}

function sameTerms (order: Order, { amount, currency, reference }: CreateCommand): boolean {
  return order.amount === amount && order.currency === currency && order.reference === reference
}

export function answerOf ({ id, amount, currency, reference, status, createdAt }: Order): OrderAnswer {
  return { id, amount, currency, reference, status, createdAt: createdAt.toISOString() }
}
