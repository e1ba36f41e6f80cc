import type { FastifyReply, FastifyRequest } from 'fastify'
import { answerOf } from '../core/store-timeout.ts'
import type { Subject } from '../observe/channels.ts'
import type { Engine } from '../core/engine.ts'
import { factsOf } from '../shared/error-facts.ts'
import type { Queryable } from '../journal/journal.ts'
import type { RouteSettings } from '../options.ts'
import { Ownership } from '../core/ownership.ts'
import type { OwnedClaim } from '../store/store.ts'
import type { JournalledAnswer, RequestIdempotency } from '../types.ts'
import { askBefore } from './ask-before.ts'
import type { Headers } from './headers.ts'
import { hasLeft, unwatch, watch } from './connection.ts'
import type { Watcher } from './connection.ts'
import { record } from './record.ts'
import type { Recorded } from './record.ts'

/** A request that owns its key, from the claim to the completion. */
export class Run extends Ownership implements Watcher {
  declare readonly request: FastifyRequest
  readonly #engine: Engine
  readonly reply: FastifyReply
  /** The response headers as they stood when the key was claimed: what is set later is the run's own. */
  readonly headersBefore: Headers
  /** `settling`: the outcome is on its way to the store, and nothing may be sent yet. */
  stage: 'open' | 'settling' | 'settled' = 'open'
  /** The client was answered while the handler goes on (`handlerTimeout`). */
  outcomeUnknown = false
  /** Fastify has told of an error, whose answer is yet to pass through `onSend`. */
  failed = false
  /** The response has trailers, which are not kept. */
  hasTrailers = false
  /** Another answer was attempted while the first was being stored, and may have changed status and headers. */
  disturbed = false
  /** The handler wrote to the journal: what becomes of its transaction decides what the outcome is. */
  recording = false
  /** What it wrote, last if its transaction was tried again. It stands only if that one has committed. */
  recorded: Recorded | null = null
  /** The journal refused to take it, since the outcome of another attempt stands there. */
  refused = false

  constructor (engine: Engine, subject: Subject, owned: OwnedClaim, settings: RouteSettings, reply: FastifyReply, began: number) {
    super(subject, owned, settings, reply.log, began)
    this.#engine = engine
    this.reply = reply
    this.headersBefore = reply.getHeaders()
  }

  override renewable (now: number): boolean {
    return !this.outcomeUnknown && super.renewable(now)
  }

  /** The app closes, and this run's connection is to be closed with it. */
  get appCloses (): boolean {
    return this.#engine.closing.aborted
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

  /** Its client has left, so that a duplicate is that client's retry: those who ask from now on may wait for the answer. */
  connectionClosed (): void {
    if (this.stage !== 'open' || this.outcomeUnknown || this.reply.raw.writableEnded) return
    this.clientLeft = true
    const { acquisitions, deadline, store } = this.#engine
    acquisitions.get(this.id)?.ownerLeft()
    if (this.settings.onConflict !== 'auto') return
    deadline.race(answerOf(() => store.markLeft(this.id, this.owned))).catch((error: unknown) => {
      this.log.warn({ err: factsOf(error) }, 'idempotency: the store could not be told that the client has left, its retries in other processes are refused')
    })
  }
}

/** `request.idempotency` of a run: what the handler may see of it. */
export class RunView implements RequestIdempotency {
  readonly key: string
  readonly scope: string
  readonly attempt: number
  readonly replayed = false
  readonly #run: Run

  constructor (key: string, run: Run) {
    this.key = key
    this.scope = run.scope
    this.attempt = run.owned.attempt
    this.#run = run
  }

  get signal (): AbortSignal {
    return this.#run.signal
  }

  release (): void {
    this.#run.releaseRequested = true
  }

  complete<T> (tx: Queryable, answer: JournalledAnswer<T>): Promise<T> {
    return record(this.#run, tx, answer)
  }

  lookUp (): Promise<void> {
    return askBefore(this.#run)
  }
}

/** `request.idempotency` of a replay, which owns nothing. */
export class ReplayView implements RequestIdempotency {
  readonly key: string
  readonly scope: string
  readonly attempt: number
  readonly replayed = true

  constructor (key: string, scope: string, attempt: number) {
    this.key = key
    this.scope = scope
    this.attempt = attempt
  }

  get signal (): AbortSignal {
    return new AbortController().signal
  }

  release (): void {}

  async complete (): Promise<never> {
    throw new Error('fastify-idempotency: a replay has nothing to complete')
  }

  async lookUp (): Promise<never> {
    throw new Error('fastify-idempotency: a replay has nothing to look up')
  }
}
