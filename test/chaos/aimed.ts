import type { Fault, FaultKind } from './faults.ts'
import { workStruckBy } from './schedule.ts'
import type { PlannedPayment, PlannedWork } from './schedule.ts'

/** The properties that a payment must have. The others do not matter. */
export type Aimed = Partial<Omit<PlannedPayment, 'index'>>

/** Payments in a row, each with the fault that is aimed at it. */
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

/** A fault that strikes while the suite's own work runs. */
export function inHandler (kind: FaultKind, milliseconds = 0, work: Partial<PlannedWork> = {}): Aimed {
  return { fault: fault(kind, { milliseconds }), work: { ...workStruckBy(kind, () => 0), ...work } }
}
