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
 * Runs `work` on the locked order in one transaction that shall move it to `to`. There are three ways to come too
 * late (the state machine, the version, the unique constraint), and all get the one answer that helps: a 409 that
 * names the status which the order has.
 */
export async function moving<T> (
  db: Database, command: Command, to: OrderStatus, work: (client: PoolClient, order: Order) => Promise<T>
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
    // The transaction is rolled back; what did the winner make of the order?
    const order = await findOrder(db, command)
    if (order === null) throw orderNotFound()
    throw notMovable(order.status, to)
  }
}

export function orderNotFound (): Problem {
  return new Problem(404, 'ORDER_NOT_FOUND', 'You have no such order.')
}

function notMovable (orderStatus: OrderStatus, to: OrderStatus): Problem {
  return new Problem(409, CODES[to] ?? 'ORDER_NOT_MOVABLE', `The order is ${orderStatus}: it cannot become ${to}.`, { orderStatus })
}

function lostRace (error: unknown): boolean {
  return error instanceof VersionConflictError ||
    (error instanceof DatabaseError && error.code === UNIQUE_VIOLATION && error.constraint === 'payments_once')
}
