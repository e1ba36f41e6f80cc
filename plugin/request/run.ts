import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Engine } from '../core/engine.ts'
import { Ownership } from '../core/ownership.ts'
import { promiseOf } from '../core/store-timeout.ts'
import type { Subject } from '../observe/channels.ts'
import type { RouteSettings } from '../options.ts'
import { factsOf } from '../shared/error-facts.ts'
import type { Outcome, OwnedClaim } from '../store/store.ts'
import { hasLeft, unwatch, watch } from './connection.ts'
import type { Watcher } from './connection.ts'
import type { Headers } from './headers.ts'

/** An answer that the handler wrote to the journal. It counts if the handler's transaction commits. */
export interface Journalled {
  /** What the handler is to answer with. */
  body: unknown
  /** The handler returned `body` as it is, and Fastify serializes it again. */
  answered: boolean
  bytes: Buffer
  headers: Record<string, string | string[]>
  /** The headers that the reply had when the answer was written. */
  headersBefore: Headers
  outcome: Outcome
}

/** A request that owns its key, from the claim to the end. */
export class Run extends Ownership implements Watcher {
  declare readonly request: FastifyRequest
  readonly engine: Engine
  readonly reply: FastifyReply
  /** The response headers at the claim. What is set later is the run's own. */
  readonly headersBefore: Headers
  /** Only `end.ts` sets it. `ending`: the outcome is on its way to the store, and nothing may be sent yet. */
  stage: 'open' | 'ending' | 'ended' = 'open'
  /** Only `end.ts` sets it: a second answer came while the first was being stored, and may have changed the reply. */
  disturbed = false
  /** The client was answered while the handler goes on (`handlerTimeout`). */
  outcomeUnknown = false
  /** Fastify reported an error whose answer has not passed through `onSend` yet. */
  failed = false
  /** The response has trailers, which are not kept. */
  hasTrailers = false
  /** The handler wrote to the journal: what becomes of its transaction decides the outcome. */
  wroteJournal = false
  /** What the handler wrote last. A transaction that is tried again writes again. */
  journalled: Journalled | null = null
  /** The journal refused the handler's answer, since it has the outcome of another attempt. */
  refusedByJournal = false

  constructor (
    engine: Engine, subject: Subject, owned: OwnedClaim, settings: RouteSettings, reply: FastifyReply, startedAt: number
  ) {
    super(subject, owned, settings, reply.log, startedAt)
    this.engine = engine
    this.reply = reply
    this.headersBefore = reply.getHeaders()
  }

  override isRenewable (now: number): boolean {
    return !this.outcomeUnknown && super.isRenewable(now)
  }

  override get isWatched (): boolean {
    return !this.outcomeUnknown
  }

  watchClient (): void {
    if (hasLeft(this.request)) this.connectionClosed()
    else watch(this.request, this)
  }

  unwatchClient (): void {
    unwatch(this.request, this)
  }

  /** The client has left. A duplicate is a retry of that client from now on, and may wait for the answer. */
  connectionClosed (): void {
    if (this.stage !== 'open' || this.outcomeUnknown || this.reply.raw.writableEnded) return
    this.clientLeft = true
    const { acquisitions, storeTimeout, store } = this.engine
    acquisitions.get(this.id)?.ownerLeft()
    if (this.settings.onConflict !== 'auto') return
    storeTimeout.limit(promiseOf(() => store.markLeft(this.id, this.owned))).catch((error: unknown) => {
      this.log.warn(
        { err: factsOf(error) },
        'idempotency: the store could not be told that the client has left, its retries in other processes are refused'
      )
    })
  }
}
