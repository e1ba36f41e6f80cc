import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Subject } from '../observe/channels.ts'
import { LeaseLostError } from '../errors.ts'
import type { RouteSettings } from '../options.ts'
import type { OwnedClaim } from '../store/store.ts'
import { Wake } from '../shared/wait.ts'

/** A key that is owned, from the claim until the store has the outcome: by a request's run, or by `app.idempotency.run`. */
export class Ownership implements Subject {
  readonly request: FastifyRequest | null
  readonly scope: string
  readonly id: string
  readonly owned: OwnedClaim
  readonly settings: RouteSettings
  readonly log: FastifyBaseLogger
  /** `performance.now()` of the claim. */
  readonly began: number
  /** `performance.now()` before the last claim or renewal was sent, so that the lease lasts no less than is thought. */
  leaseBegan: number
  renewing = false
  /** The owner asked that nothing be kept. */
  releaseRequested = false
  /** The client that the owner works for has left, so that a duplicate is that client's retry. */
  clientLeft = false
  /** The work is done. What is left is to tell the store. */
  ended = false
  #controller: AbortController | null = null
  #abortReason: Error | null = null
  #over: Wake | null = null

  constructor ({ request, scope, id }: Subject, owned: OwnedClaim, settings: RouteSettings, log: FastifyBaseLogger, began: number) {
    this.request = request
    this.scope = scope
    this.id = id
    this.owned = owned
    this.settings = settings
    this.log = log
    this.began = began
    this.leaseBegan = began
  }

  renewable (now: number): boolean {
    return !this.renewing && now - this.began < this.settings.maxExecution
  }

  /** Whether the end of the work will be known. */
  get isWatched (): boolean {
    return true
  }

  /** Made when somebody asks: most handlers never do. */
  get signal (): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#abortReason !== null) this.#controller.abort(this.#abortReason)
      lookAtTheClock(this.#controller.signal, () => { this.#abortIfLate() })
    }
    this.#abortIfLate()
    return this.#controller.signal
  }

  abort (reason: Error): void {
    this.#abortReason ??= reason
    this.#controller?.abort(reason)
  }

  /** A process that was frozen or blocked goes on with whatever comes first, which need not be the timer of the leases. */
  #abortIfLate (): void {
    const { lease } = this.owned
    if (!this.ended && this.#abortReason === null && performance.now() - this.leaseBegan >= lease) {
      this.abort(new LeaseLostError(`The idempotency key is not, or may no longer be, this run's own: the lease of ${lease} ms ran out`))
    }
  }

  /** Wakes those of this process that wait for the key. */
  get over (): Wake {
    this.#over ??= new Wake()
    return this.#over
  }

  noteOver (): void {
    this.#over?.now()
  }
}

/** Has `look` called before the signal answers whether it is aborted. */
function lookAtTheClock (signal: AbortSignal, look: () => void): void {
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
