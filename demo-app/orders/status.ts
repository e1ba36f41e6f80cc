/**
 * The life of an order, and the only place that says which moves are legal.
 *
 * ```
 * pending ──pay──▶ paid ──refund──▶ refunded
 * ```
 *
 * A provider that answers later would add `paying` between the first two: one more name here, its moves below, and
 * the name in the CHECK of a new migration.
 */
export const STATUSES = ['pending', 'paid', 'refunded'] as const

export type OrderStatus = typeof STATUSES[number]

export const MOVES: Readonly<Record<OrderStatus, readonly OrderStatus[]>> = {
  pending: ['paid'],
  paid: ['refunded'],
  refunded: []
}

export class IllegalMoveError extends Error {
  override name = 'IllegalMoveError'
  readonly from: OrderStatus
  readonly to: OrderStatus

  constructor (from: OrderStatus, to: OrderStatus) {
    super(`an order that is ${from} cannot become ${to}`)
    this.from = from
    this.to = to
  }
}

/** The status that an order has after the move, or an `IllegalMoveError`. */
export function move (from: OrderStatus, to: OrderStatus): OrderStatus {
  if (!MOVES[from].includes(to)) throw new IllegalMoveError(from, to)
  return to
}
