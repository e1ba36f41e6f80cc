export const FAULT_KINDS = ['slow', 'timeout-after-charge', 'fail', 'decline', 'processing'] as const

/** How the sandbox is told to misbehave. */
export interface Fault {
  /**
   * `slow`: answers late. `timeout-after-charge`: acts, and answers too late for anybody. `fail`: answers 500 and does
   * not act. `decline`: refuses the charge. `processing`: takes the charge, and its time.
   */
  kind: typeof FAULT_KINDS[number]
  /** For how many requests. */
  times: number
  /** Milliseconds: how late, and how long it takes. */
  delayMs: number
  /** Only requests that are about this number of the merchant's. */
  number?: string
  /** Only requests to do this. */
  operation?: 'charge' | 'refund' | 'query'
}

/** Faults that wait for the requests that they strike. */
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

  /** The fault that strikes this request, if any; it is used up. */
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
