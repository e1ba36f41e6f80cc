import type { Fault, FaultKind } from './faults.ts'
import type { PlannedPayment } from './schedule.ts'

/** What a payment is to be like; the rest does not matter. */
export type Aimed = Partial<Omit<PlannedPayment, 'index'>>

/** Payments in a row, with faults that are aimed. */
export function inARow (...payments: Aimed[]): PlannedPayment[] {
  return payments.map((payment, index) => ({ index, amount: 1_999, method: 'card', app: 0, client: 'is plain', leavesAfter: 500, fault: null, ...payment }))
}

export function fault (kind: FaultKind, more: Partial<Fault> = {}): Fault {
  return { kind, app: 0, milliseconds: 0, boundary: null, ...more }
}
