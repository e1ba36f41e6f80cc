import { Problem } from '../problems.ts'
import { findCreatedOrder, insertOrder } from './store.ts'
import type { Command, Order } from './store.ts'
import type { Database } from './transaction.ts'

export type CreateCommand = Omit<Command, 'orderId'> & Pick<Order, 'amount' | 'currency' | 'reference'>

/**
 * An operation that has already created an order gets that one, as it was new: the attempt that created it died
 * before it could answer, or the key is older than what the plugin remembers.
 */
export async function createOrder (db: Database, command: CreateCommand): Promise<Order> {
  const created = await insertOrder(db, command)
  if (created !== null) return created
  const earlier = await findCreatedOrder(db, command)
  if (earlier === null || !sameTerms(earlier, command)) {
    throw new Problem(409, 'OPERATION_EXISTS', 'This key has created another order before. Use a new key.')
  }
  return { ...earlier, status: 'pending' }
}

function sameTerms (order: Order, { amount, currency, reference }: CreateCommand): boolean {
  return order.amount === amount && order.currency === currency && order.reference === reference
}
