import type { FastifyBaseLogger } from 'fastify'
import type { Background } from './background.ts'
import type { Deadline } from './deadline.ts'
import type { Leases } from './leases.ts'
import type { Leader } from './follow.ts'
import type { PluginSettings } from './options.ts'
import type { Store } from './store/store.ts'
import type { IdempotencyStats } from './types.ts'

/** What everybody who claims keys shares. */
export interface Engine {
  settings: PluginSettings
  store: Store
  deadline: Deadline
  leases: Leases
  background: Background
  counts: Omit<IdempotencyStats, 'running' | 'pending' | 'leasesLost' | 'storeErrors'>
  /** Who asks the store for a key on behalf of all in this process that want it for the same request. */
  leaders: Map<string, Leader>
  /** The app's own, for what happens outside of a request. */
  log: FastifyBaseLogger
  /** Aborts when the app begins to close: nobody is kept waiting any longer. */
  closing: AbortSignal
}
