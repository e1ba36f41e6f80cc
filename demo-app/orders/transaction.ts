import type { PostgresDb } from '@fastify/postgres'
import { DatabaseError } from 'pg'
import type { PoolClient } from 'pg'
import { Problem } from '../problems.ts'
import { findOrder, VersionConflictError } from './store.ts'
import type { Command, Order } from './store.ts'
import { IllegalMoveError } from './status.ts'
import type { OrderStatus } from './status.ts'

export type Database = Pick<PostgresDb, 'query' | 'transact'>

const UNIQUE_VIOLATION = '23505'
const CODES: Partial<Record<OrderStatus, string>> = { paying: 'ORDER_NOT_PAYABLE', refunding: 'ORDER_NOT_REFUNDABLE' }

/**
 * Locks the order and runs `work` in the same transaction, in order to move the order to the status `to`. An operation
 * that is too late fails at the state machine, at the version or at the unique constraint. In each case the client gets
 * a 409 with the current status of the order.
 */
export async function moving<T> (
  db: Database,
  command: Command,
  to: OrderStatus,
  work: (client: PoolClient, order: Order) => Promise<T>
): Promise<T> {
  try {
    return await db.transact(async client => {
      const order = await findOrder(client, command, { lock: true })
      if (order === null) throw orderNotFound()
      return work(client, order)
    })
  } catch (error) {
    if (error instanceof IllegalMoveError) throw notMovable(error.from, to)
    if (!lostRace(error)) throw error
    // The transaction is rolled back. Read the status that the other operation gave the order.
    const order = await findOrder(db, command)
    if (order === null) throw orderNotFound()
    throw notMovable(order.status, to)
  }
}

export function orderNotFound (): Problem {
  return new Problem(404, 'ORDER_NOT_FOUND', 'You have no such order.')
}

function notMovable (orderStatus: OrderStatus, to: OrderStatus): Problem {
  const detail = `The order is ${orderStatus}: it cannot become ${to}.`
  return new Problem(409, CODES[to] ?? 'ORDER_NOT_MOVABLE', detail, { orderStatus })
}

function lostRace (error: unknown): boolean {
  return error instanceof VersionConflictError ||
    (error instanceof DatabaseError && error.code === UNIQUE_VIOLATION && error.constraint === 'payments_once')
}
