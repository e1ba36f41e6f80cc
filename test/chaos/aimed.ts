import type { Fault, FaultKind } from './faults.ts'
import { workStruckBy } from './schedule.ts'
import type { PlannedPayment, PlannedWork } from './schedule.ts'

/** What a payment is to be like; the rest does not matter. */
export type Aimed = Partial<Omit<PlannedPayment, 'index'>>

/** Payments in a row, with faults that are aimed. */
export function inARow (...payments: Aimed[]): PlannedPayment[] {
  return payments.map((payment, index) => ({
    index,
    amount: 1_999,
    method: 'card',
    app: 0,
    client: 'is plain',
    leavesAfter: 500,
    fault: null,
    work: null,
    ...payment
  }))
}

export function fault (kind: FaultKind, more: Partial<Fault> = {}): Fault {
  return { kind, app: 0, milliseconds: 0, boundary: null, ...more }
}

/** That strikes while work of the suite's own is done. */
export function inHandler (kind: FaultKind, milliseconds = 0, work: Partial<PlannedWork> = {}): Aimed {
  return { fault: fault(kind, { milliseconds }), work: { ...workStruckBy(kind, () => 0), ...work } }
}
