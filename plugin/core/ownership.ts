import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { LeaseLostError } from '../errors.ts'
import type { Owner } from '../observe/events.ts'
import type { Subject } from '../observe/channels.ts'
import type { RouteSettings } from '../options.ts'
import { Wake } from '../shared/wait.ts'
import type { OwnedClaim } from '../store/store.ts'
import type { TableEntry } from './id-table.ts'

/** A key that this process owns, from the claim until the store has the outcome. */
export class Ownership implements Owner, TableEntry<Ownership> {
  /** `null` for a call of `app.idempotency.run`. */
  readonly request: FastifyRequest | null
  readonly scope: string
  readonly id: string
  nextInBucket: Ownership | null = null
  readonly owned: OwnedClaim
  readonly settings: RouteSettings
  readonly log: FastifyBaseLogger
  /** `performance.now()` before the claim was sent. */
  readonly startedAt: number
  /** `performance.now()` before the last claim or renewal was sent: the lease lasts at least as long as is assumed. */
  leaseStartedAt: number
  renewing = false
  /** The owner asked to keep nothing. */
  releaseRequested = false
  /** The client that the owner works for has left. A duplicate is a retry of that client. */
  clientLeft = false
  /** The work is done, and the store is being told. */
  ended = false
  #controller: AbortController | null = null
  #abortReason: Error | null = null
  #over: Wake | null = null

  constructor (
    { request, scope, id }: Subject, owned: OwnedClaim, settings: RouteSettings, log: FastifyBaseLogger,
    startedAt: number
  ) {
    this.request = request
    this.scope = scope
    this.id = id
    this.owned = owned
    this.settings = settings
    this.log = log
    this.startedAt = startedAt
    this.leaseStartedAt = startedAt
  }

  isRenewable (now: number): boolean {
    return !this.renewing && now - this.startedAt < this.settings.maxExecution
  }

  /** Whether this process will learn how the work ends. */
  get isWatched (): boolean {
    return true
  }

  /** Made on demand: most handlers never ask for it. */
  get signal (): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#abortReason !== null) this.#controller.abort(this.#abortReason)
      callBeforeAborted(this.#controller.signal, () => { this.#abortIfLate() })
    }
    this.#abortIfLate()
    return this.#controller.signal
  }

  abort (reason: Error): void {
    this.#abortReason ??= reason
    this.#controller?.abort(reason)
  }

  /** A process that was frozen or blocked may go on with the handler before the timer of the leases fires. */
  #abortIfLate (): void {
    const { lease } = this.owned
    if (!this.ended && this.#abortReason === null && performance.now() - this.leaseStartedAt >= lease) {
      this.abort(leaseLost(`the lease of ${lease} ms ran out`))
    }
  }

  /** Wakes the waiters of this process once the outcome of the key is known, or the key is free. */
  get over (): Wake {
    this.#over ??= new Wake()
    return this.#over
  }

  noteOver (): void {
    this.#over?.now()
  }
}

/** @param why what happened to the lease */
export function leaseLost (why: string): LeaseLostError {
  return new LeaseLostError(`The idempotency key is not, or may no longer be, this run's own: ${why}`)
}

/** Makes the signal call `look` before it says whether it is aborted. */
function callBeforeAborted (signal: AbortSignal, look: () => void): void {
  Object.defineProperties(signal, {
    aborted: {
      configurable: true,
      get: () => {
        look()
        return Reflect.get<AbortSignal, 'aborted'>(AbortSignal.prototype, 'aborted', signal)
      }
    },
    throwIfAborted: {
      configurable: true,
      value: () => {
        look()
        AbortSignal.prototype.throwIfAborted.call(signal)
      }
    }
  })
}
