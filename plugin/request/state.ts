import type { Background } from '../background.ts'
import type { Deadline } from '../deadline.ts'
import type { Leases } from '../leases.ts'
import type { PluginSettings } from '../options.ts'
import type { KeptResponse, Store } from '../store/store.ts'
import type { IdempotencyStats } from '../types.ts'
import type { Run } from './run.ts'

/** What the steps of a request share. */
export interface Engine {
  settings: PluginSettings
  store: Store
  deadline: Deadline
  leases: Leases
  background: Background
  counts: Omit<IdempotencyStats, 'running' | 'pending' | 'leasesLost' | 'storeErrors'>
  /** Aborts when the app begins to close: nobody is kept waiting any longer. */
  closing: AbortSignal
}

/** The request's state between the hooks: a run that owns its key, or a replay on its way through `onSend`. */
export const kIdempotency = Symbol('fastify-idempotency.request')

/** A response that is being replayed. */
export class Replay {
  readonly response: KeptResponse
  restored = false

  constructor (response: KeptResponse) {
    this.response = response
  }
}

/** The request was answered (`handlerTimeout`) before it owned its key. */
export const ANSWERED = Symbol('answered')

declare module 'fastify' {
  interface FastifyRequest {
    [kIdempotency]: Run | Replay | typeof ANSWERED | null | undefined
  }
}
