import { setTimeout as delay } from 'node:timers/promises'
import { ProviderError } from './errors.ts'
import type { Fault } from './faults.ts'

/** Milliseconds after which no client waits any more, unless the fault says otherwise. */
const TOO_LATE = 60_000

/** What a fault does before the provider acts. */
export async function before (fault: Fault | null, closing: AbortSignal): Promise<void> {
  if (fault?.kind === 'slow' || fault?.kind === 'decline') await pause(fault.delayMs, closing)
  if (fault?.kind === 'fail') throw new ProviderError(500, 'SANDBOX_FAULT', 'A fault made this request fail.')
}

/** What a fault does after the provider has acted. */
export async function after (fault: Fault | null, closing: AbortSignal): Promise<void> {
  if (fault?.kind === 'timeout-after-charge') await pause(fault.delayMs || TOO_LATE, closing)
}

/** Waits, but no longer than until the app closes. Does not keep the process alive. */
export async function pause (milliseconds: number, closing: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal: closing, ref: false }).catch(() => {})
}
