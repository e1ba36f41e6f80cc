import { writeSync } from 'node:fs'
import type { AppEvent } from './history.ts'

/** On file descriptor 3 of an app, to the run. Synchronously: the process may be about to end. */
export function tell (event: AppEvent): void {
  writeSync(3, `${JSON.stringify(event)}\n`)
}
