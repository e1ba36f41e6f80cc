/**
 * The statuses of an order. Only this file defines which moves between them are legal.
 *
 * ```
 *            pay               charged              refund                paid back
 * pending ─────────▶ paying ──────────────▶ paid ──────────▶ refunding ─────────────▶ refunded
 *    ▲                 │                     ▲                   │
 *    └──── declined ───┘                     └───── refused ─────┘
 * ```
 */
export const STATUSES = ['pending', 'paying', 'paid', 'refunding', 'refunded'] as const

export type OrderStatus = typeof STATUSES[number]

export const MOVES: Readonly<Record<OrderStatus, readonly OrderStatus[]>> = {
  pending: ['paying'],
  paying: ['paid', 'pending'],
  paid: ['refunding'],
  refunding: ['refunded', 'paid'],
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

/**
 * The status of an order after the move.
 * @throws {IllegalMoveError}
 */
export function move (from: OrderStatus, to: OrderStatus): OrderStatus {
  if (!MOVES[from].includes(to)) throw new IllegalMoveError(from, to)
  return to
}
