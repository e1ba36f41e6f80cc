import type { Faults } from './faults.ts'
import type { Ledger } from './ledger.ts'
import type { Notifier } from './notifier.ts'

/** What the routes share. */
export interface Books {
  ledger: Ledger
  faults: Faults
  notifier: Notifier
  /** Aborts when the app closes, so that no fault delays a request any longer. */
  closing: AbortSignal
}
