import type { Dispatcher } from 'undici'
import { Operation } from './operation.ts'
import type { OperationInfo } from './operation.ts'
import type { RetrySettings } from './options.ts'
import { Try } from './undici-try.ts'

/**
 * Errors that the caller itself has caused, by a wrong request, an abort or another interceptor. They are passed on as
 * they are.
 */
const CALLERS = new Set<unknown>(['UND_ERR_ABORT', 'UND_ERR_ABORTED', 'UND_ERR_INVALID_ARG', 'UND_ERR_RESPONSE'])

/** The `context` that `onRequestStart` gets and `request()` returns. */
export interface IdempotentContext {
  /** Complete once the answer has arrived. */
  idempotency: OperationInfo
}

/** One operation on a dispatcher. It makes one try after the other. The caller's handler sees a single request. */
export class IdempotentDispatch implements Dispatcher.DispatchController {
  readonly #dispatch: (handler: Dispatcher.DispatchHandler) => boolean
  readonly #handler: Dispatcher.DispatchHandler
  readonly #operation: Operation
  readonly #context: IdempotentContext
  #try: Try | null = null
  #pause: NodeJS.Timeout | undefined
  #state: 'trying' | 'answered' | 'failed' = 'trying'
  aborted = false
  reason: Error | null = null

  constructor (
    key: string | null,
    settings: RetrySettings,
    handler: Dispatcher.DispatchHandler,
    dispatch: (handler: Dispatcher.DispatchHandler) => boolean
  ) {
    this.#operation = new Operation(key, settings)
    this.#context = { idempotency: this.#operation }
    this.#handler = handler
    this.#dispatch = dispatch
  }

  start (): boolean {
    // The handler is called before there is a connection, so that it can abort while the request waits for one.
    this.#handler.onRequestStart?.(this, this.#context)
    return this.aborted || this.#next()
  }

  get paused (): boolean {
    return this.#try?.controller?.paused ?? false
  }

  get rawHeaders (): NonNullable<Dispatcher.DispatchController['rawHeaders']> | null {
    return this.#try?.controller?.rawHeaders ?? null
  }

  get rawTrailers (): NonNullable<Dispatcher.DispatchController['rawTrailers']> | null {
    return this.#try?.controller?.rawTrailers ?? null
  }

  pause (): void {
    this.#try?.controller?.pause()
  }

  resume (): void {
    this.#try?.controller?.resume()
  }

  abort (reason: Error): void {
    if (this.aborted || this.#state === 'failed') return
    this.aborted = true
    this.reason = reason
    if (this.#state === 'answered') {
      // The connection reports the abort to the handler, unless the answer is complete.
      this.#try?.controller?.abort(reason)
      return
    }
    clearTimeout(this.#pause)
    this.#try?.stop(reason)
    this.#fail(reason)
  }

  #next (): boolean {
    try {
      this.#try = this.#newTry(this.#operation.begin())
      return this.#dispatch(this.#try)
    } catch (error) {
      this.#try?.stop(error as Error)
      this.#fail(error as Error)
      return false
    }
  }

  #newTry (time: number): Try {
    return new Try(this.#operation.key, time, { handler: this.#handler, controller: this }, {
      started: context => { Object.assign(this.#context, context) },
      answered: answer => this.#decide(() => this.#operation.answered(answer)),
      failed: error => { this.#tryFailed(error) },
      broken: error => { this.#fail(error) }
    })
  }

  #tryFailed (error: Error): void {
    if ('code' in error && CALLERS.has(error.code)) this.#fail(error)
    else this.#decide(() => this.#operation.failed(error, this.#try?.isSent))
  }

  /**
   * Plans the next try, if the answer is not final.
   * @returns whether the answer is final
   */
  #decide (waitOf: () => number | null): boolean {
    try {
      const wait = waitOf()
      if (wait === null) this.#state = 'answered'
      else this.#pause = setTimeout(() => this.#next(), wait)
    } catch (error) {
      this.#fail(error as Error)
    }
    return this.#state === 'answered'
  }

  #fail (error: Error): void {
    this.#state = 'failed'
    this.#handler.onResponseError?.(this, error)
  }
}
