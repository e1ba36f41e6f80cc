import type { IdempotencyEvent, IdempotencyOutcomeEvent, IdempotencyStoreFailureEvent } from '../channels.ts'
import type { Listeners } from '../listen.ts'
import type { Instruments } from './instruments.ts'

const RESULTS = ['claimed', 'taken_over', 'replayed', 'cached', 'recalled', 'conflicted', 'mismatched'] as const
const OPERATIONS: Array<IdempotencyStoreFailureEvent['operation']> = ['claim', 'renew', 'complete', 'release']

/** What each event changes. */
export function listenersOf (instruments: Instruments): Listeners {
  const { requests, leasesLost, storeFailures, claims, waits, runs } = instruments
  const routes = new Set<string>()

  function labelOf ({ route }: IdempotencyEvent): { route: string } {
    if (!routes.has(route)) {
      routes.add(route)
      startAtZero(instruments, route)
    }
    return { route }
  }

  const decided = (result: typeof RESULTS[number]) => (event: IdempotencyEvent): void => {
    const label = labelOf(event)
    requests.inc({ ...label, result })
    claims.observe(label, event.duration / 1_000)
  }
  const ended = (outcome: 'completed' | 'released') => (event: IdempotencyOutcomeEvent): void => {
    runs.observe({ ...labelOf(event), outcome }, event.duration / 1_000)
  }
  const replayed = decided('replayed')

  return {
    claimed: decided('claimed'),
    takenOver: decided('taken_over'),
    replayed (event) {
      // An answer from the journal may come after a run, so its duration is not that of a claim.
      if (event.recalled) requests.inc({ ...labelOf(event), result: 'recalled' })
      // The store was not asked, so there was no claim whose duration could be measured.
      else if (event.cached) requests.inc({ ...labelOf(event), result: 'cached' })
      else replayed(event)
    },
    conflicted: decided('conflicted'),
    mismatched: decided('mismatched'),
    waited (event) { waits.observe(labelOf(event), event.duration / 1_000) },
    completed: ended('completed'),
    released: ended('released'),
    leaseLost (event) { leasesLost.inc(labelOf(event)) },
    storeFailed (event) { storeFailures.inc({ ...labelOf(event), operation: event.operation }) }
  }
}

/**
 * Starts all series of a route at zero. `increase()` in Prometheus ignores the first value of a series, but the first
 * lost lease or failure of the store is the one that an alarm must see.
 */
function startAtZero ({ requests, leasesLost, storeFailures }: Instruments, route: string): void {
  for (const result of RESULTS) requests.inc({ route, result }, 0)
  leasesLost.inc({ route }, 0)
  for (const operation of OPERATIONS) storeFailures.inc({ route, operation }, 0)
}
