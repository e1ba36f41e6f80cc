import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Subject } from './diagnostics.ts'
import type { RouteSettings } from './options.ts'
import type { OwnedClaim } from './store/store.ts'

/** A key that is owned, from the claim to the completion: by a request's run, or by `app.idempotency.run`. */
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
  #controller: AbortController | null = null
  #abortReason: Error | null = null

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

  /** Made when somebody asks: most handlers never do. */
  get signal (): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#abortReason !== null) this.#controller.abort(this.#abortReason)
    }
    return this.#controller.signal
  }

  abort (reason: Error): void {
    this.#abortReason = reason
    this.#controller?.abort(reason)
  }
}
