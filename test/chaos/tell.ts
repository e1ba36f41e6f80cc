import { writeSync } from 'node:fs'
import type { AppEvent } from './history.ts'

/**
 * Reports to the run on file descriptor 3 of an app. It writes synchronously, since the process may be about to end.
 */
export function tell (event: AppEvent): void {
  writeSync(3, `${JSON.stringify(event)}\n`)
}
