import type { FastifyBaseLogger } from 'fastify'
import type { Acquisition } from './acquisition.ts'
import type { Deadline } from './store-timeout.ts'
import type { Hearing } from './store-contact.ts'
import type { Leases } from './leases.ts'
import type { PluginSettings } from '../options.ts'
import type { Pending } from './retry-queue.ts'
import type { Store } from '../store/store.ts'
import type { IdempotencyStats } from '../types.ts'

/** What everybody who claims keys shares. */
export interface Engine {
  settings: PluginSettings
  store: Store
  deadline: Deadline
  hearing: Hearing
  leases: Leases
  pending: Pending
  counts: Omit<IdempotencyStats, 'running' | 'waiting' | 'pending' | 'leasesLost' | 'storeErrors'>
  /** By record id, what those of this process that want a key for the same request ask the store together. */
  acquisitions: Map<string, Acquisition>
  /** How many are held now. */
  waiting: number
  /** The app's own, for what happens outside of a request. */
  log: FastifyBaseLogger
  /** Aborts when the app begins to close: nobody is kept waiting for an owner in another process any longer. */
  closing: AbortSignal
}
