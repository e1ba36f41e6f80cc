import type { FastifyBaseLogger } from 'fastify'
import type { Subject } from '../observe/channels.ts'
import type { Events } from '../observe/events.ts'
import type { PluginSettings, RouteSettings } from '../options.ts'
import type { Claim, Outcome, Store } from '../store/store.ts'
import type { IdTable, TableEntry } from './id-table.ts'
import type { Leases } from './leases.ts'
import type { ReplayCache } from './replay-cache.ts'
import type { RetryQueue } from './retry-queue.ts'
import type { Identity } from './same-request.ts'
import type { StoreContact } from './store-contact.ts'
import type { StoreTimeout } from './store-timeout.ts'

/** What all contenders of one registration of the plugin share. */
export interface Engine {
  settings: PluginSettings
  store: Store
  storeTimeout: StoreTimeout
  contact: StoreContact
  leases: Leases
  retryQueue: RetryQueue
  /** `null`: every duplicate asks the store. */
  replayCache: ReplayCache | null
  events: Events
  /** The contenders of this process that share one acquisition. */
  acquisitions: IdTable<SharedAcquisition>
  /** How many contenders are held now. */
  waiting: number
  /** The app's own logger, for what happens outside of a request. */
  log: FastifyBaseLogger
  /** Aborts when the app begins to close. From then on nobody waits for an owner in another process. */
  closing: AbortSignal
}

/** Somebody who wants a key: a request, or a call of `app.idempotency.run`. */
export interface Contender {
  readonly engine: Engine
  readonly settings: RouteSettings
  readonly subject: Subject
  readonly identity: Identity
  readonly log: FastifyBaseLogger
  /** `null` for a call of `app.idempotency.run`. */
  readonly client: Client | null
  /** It has what it wanted. `'bypass'`: the store failed, and the settings say to run without protection. */
  acquired (acquired: Acquired | 'bypass'): void
  /** It does not get it: an `IdempotencyError`, or an error of the app. */
  refused (error: unknown): void
}

/** The client that gets the answer. */
export interface Client {
  readonly hasLeft: boolean
  /** Calls `listener` when the client leaves, unless the returned function is called first. */
  onLeft (listener: () => void): () => void
}

/** A claim that was sent to the store. */
export interface SentClaim {
  readonly claim: Claim
  /** `performance.now()` before the claim was sent: its lease cannot have begun earlier. */
  readonly sentAt: number
}

/** What a contender gets: the key is its own now, or the key has an outcome. */
export type Acquired = Granted | KnownOutcome

export interface Granted extends SentClaim {
  readonly state: 'claimed'
  readonly attempt: number
}

export interface KnownOutcome {
  readonly state: 'settled'
  readonly attempt: number
  readonly outcome: Outcome
  /** `performance.now()` before the store was asked, or when this process found the outcome in its own memory. */
  readonly sentAt: number
  /** The outcome comes from the journal. */
  readonly recalled: boolean
  /** The outcome comes from the replay cache, and the store was not asked. */
  readonly cached: boolean
}

/** An acquisition that further contenders of this process can join. */
export interface SharedAcquisition extends TableEntry<SharedAcquisition> {
  isFor (contender: Contender): boolean
  join (contender: Contender): void
  /** The owner runs in this process, and its client has left. */
  ownerLeft (): void
}
