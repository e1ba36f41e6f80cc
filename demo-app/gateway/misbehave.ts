import { setTimeout as delay } from 'node:timers/promises'
import { Problem } from '../problems.ts'
import type { Fault } from './faults.ts'

/** Milliseconds that a request waits which nobody is to get an answer to, unless its fault says otherwise. */
const TOO_LATE = 60_000

/** What a fault does before the provider acts. */
export async function before (fault: Fault | null, closing: AbortSignal): Promise<void> {
  if (fault?.kind === 'slow' || fault?.kind === 'decline') await pause(fault.delayMs, closing)
  if (fault?.kind === 'fail') throw new Problem(500, 'SANDBOX_FAULT', 'Told to fail.')
}

/** And what after it acted. */
export async function after (fault: Fault | null, closing: AbortSignal): Promise<void> {
  if (fault?.kind === 'timeout-after-charge') await pause(fault.delayMs || TOO_LATE, closing)
}

/** Ends at once when the app closes, and keeps no process alive. */
export async function pause (milliseconds: number, closing: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal: closing, ref: false }).catch(() => {})
}
