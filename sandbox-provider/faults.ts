export const FAULT_KINDS = ['slow', 'timeout-after-charge', 'fail', 'decline', 'processing'] as const

/** How the provider misbehaves, and for which requests. */
export interface Fault {
  /**
   * - `slow`: the provider answers late.
   * - `timeout-after-charge`: it does what was asked, and answers after every client has given up.
   * - `fail`: it answers 500 and does nothing.
   * - `decline`: it declines the charge.
   * - `processing`: it accepts the charge and completes it later.
   */
  kind: typeof FAULT_KINDS[number]
  /** How many requests the fault strikes. */
  times: number
  /** Milliseconds: how late the answer is, or how long the charge is processing. */
  delayMs: number
  /** The merchant's number: the fault strikes only requests about this one. Default: any. */
  number?: string
  /** The fault strikes only requests for this operation. Default: charges, and every operation for `slow`. */
  operation?: 'charge' | 'refund' | 'query'
}

/** Faults that have not yet struck as many requests as they shall. */
export class Faults {
  #waiting: Fault[] = []

  add (fault: Fault): void {
    this.#waiting.push(fault)
  }

  clear (): void {
    this.#waiting = []
  }

  get count (): number {
    return this.#waiting.reduce((sum, { times }) => sum + times, 0)
  }

  /** The fault for this request, if there is one. Each call uses one of the fault's `times`. */
  strike (operation: NonNullable<Fault['operation']>, number: string): Fault | null {
    const fault = this.#waiting.find(fault =>
      (fault.operation ?? (fault.kind === 'slow' ? operation : 'charge')) === operation &&
      (fault.number ?? number) === number)
    if (fault === undefined) return null
    fault.times--
    if (fault.times === 0) this.#waiting = this.#waiting.filter(other => other !== fault)
    return fault
  }
}
