import { Counter, Gauge, Histogram } from 'prom-client'
import type { Registry } from 'prom-client'
import type { Idempotency } from '../../types.ts'

/** Seconds, up to `storeTimeout` (1 s by default) and somewhat beyond. */
const CLAIM_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
/** Seconds, around `waitTimeout` (10 s by default). */
const WAIT_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30]
/** Seconds, up to `maxExecution` (300 s by default). */
const RUN_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** The metrics that events change. They have few labels with few values: never a scope, never a key. */
export interface Instruments {
  requests: Counter<'route' | 'result'>
  leasesLost: Counter<'route'>
  storeFailures: Counter<'route' | 'operation'>
  claims: Histogram<'route'>
  waits: Histogram<'route'>
  runs: Histogram<'route' | 'outcome'>
}

/** @param register the registry that gets the metrics */
export function instrumentsOn (register: Registry, prefix: string): Instruments {
  const registers = [register]
  return {
    requests: new Counter({
      name: `${prefix}idempotency_requests_total`,
      help: 'Requests with an idempotency key, by what became of their claim',
      labelNames: ['route', 'result'],
      registers
    }),
    leasesLost: new Counter({
      name: `${prefix}idempotency_leases_lost_total`,
      help: 'Runs that lost their idempotency key while they were at work',
      labelNames: ['route'],
      registers
    }),
    storeFailures: new Counter({
      name: `${prefix}idempotency_store_failures_total`,
      help: 'Calls of the idempotency store that failed or were not answered in time',
      labelNames: ['route', 'operation'],
      registers
    }),
    claims: new Histogram({
      name: `${prefix}idempotency_claim_duration_seconds`,
      help: 'What the claim of its idempotency key adds to a request',
      labelNames: ['route'],
      buckets: CLAIM_BUCKETS,
      registers
    }),
    waits: new Histogram({
      name: `${prefix}idempotency_wait_duration_seconds`,
      help: 'How long duplicates were held for the answer of the run that has their idempotency key',
      labelNames: ['route'],
      buckets: WAIT_BUCKETS,
      registers
    }),
    runs: new Histogram({
      name: `${prefix}idempotency_run_duration_seconds`,
      help: 'From the claim of an idempotency key until its outcome was stored, or the key released',
      labelNames: ['route', 'outcome'],
      buckets: RUN_BUCKETS,
      registers
    })
  }
}

/** The gauges of one app. They are read when they are scraped: a sum of events would be wrong after one lost event. */
export function gaugesOn (register: Registry, prefix: string, idempotency: Pick<Idempotency, 'stats'>): void {
  const gauge = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({ name: `${prefix}${name}`, help, registers: [register], collect () { this.set(read()) } })
  const running = 'Runs that own an idempotency key now: at work, or ended and not stored yet'
  const pending = 'Completions, releases and withdrawals that are tried again since the store did not take them'
  const entries = 'Outcomes in the replay cache now, from which duplicates are answered without the store'
  const size = 'Estimated size of the replay cache now, in bytes'
  gauge('idempotency_runs_running', running, () => idempotency.stats().running)
  gauge('idempotency_writes_pending', pending, () => idempotency.stats().pending)
  gauge('idempotency_replay_cache_entries', entries, () => idempotency.stats().cacheEntries)
  gauge('idempotency_replay_cache_bytes', size, () => idempotency.stats().cacheSize)
}
