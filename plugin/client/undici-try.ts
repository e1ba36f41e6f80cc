import type { Dispatcher } from 'undici'
import { decode } from './gather.ts'
import type { Answer } from './operation.ts'
import { isGathered, MAX_GATHERED } from './policy.ts'
import { findHeader } from './undici-headers.ts'

type Controller = Dispatcher.DispatchController
type Handler = Dispatcher.DispatchHandler
type Head = Parameters<NonNullable<Handler['onResponseStart']>> extends [Controller, ...infer Rest] ? Rest : never

/** What a try reports to its operation. */
export interface TryEvents {
  /** The request is about to be sent. */
  started (context: unknown): void
  /** An answer came. Returns whether it is final. If it is, the try passes it on, and also the rest of it. */
  answered (answer: Answer): boolean
  /** There will be no answer. */
  failed (error: Error): void
  /** The connection broke after the answer was passed on. */
  broken (error: Error): void
}

/** One try. Gathers its answer, and passes the answer on to the caller's handler if it is final. */
export class Try implements Handler {
  controller: Controller | null = null
  /** Whether the try got a connection. Before that, nothing has been sent. */
  isSent = false
  readonly #key: string | null
  readonly #caller: { handler: Handler, controller: Controller }
  readonly #events: TryEvents
  readonly #timer: NodeJS.Timeout
  #state: 'waiting' | 'passing' | 'over' = 'waiting'
  #head: Head | null = null
  #chunks: Buffer[] = []
  #size = 0

  constructor (
    key: string | null,
    time: number,
    caller: { handler: Handler, controller: Controller },
    events: TryEvents
  ) {
    this.#key = key
    this.#caller = caller
    this.#events = events
    this.#timer = setTimeout(() => {
      const error = new DOMException(`There was no answer within ${time} ms`, 'TimeoutError')
      this.stop(error)
      events.failed(error)
    }, time)
  }

  /** Ends the try: nothing that happens later is reported. If it still waits for a connection, it is never sent. */
  stop (reason: Error): void {
    this.#end()
    this.controller?.abort(reason)
  }

  onRequestStart (controller: Controller, context: unknown): void {
    this.controller = controller
    this.isSent = true
    if (this.#state === 'over') controller.abort(new DOMException('The try is over', 'AbortError'))
    else this.#events.started(context)
  }

  onResponseStart (_controller: Controller, ...head: Head): void {
    const { handler, controller } = this.#caller
    const [statusCode, headers] = head
    if (this.#state === 'over') return
    if (statusCode < 200) {
      handler.onResponseStart?.(controller, ...head)
      return
    }
    this.#head = head
    if (!isGathered(statusCode, this.#key, findHeader(headers, 'content-type'))) this.#report(head, null)
  }

  onResponseData (_controller: Controller, chunk: Buffer): void {
    if (this.#state === 'passing') this.#caller.handler.onResponseData?.(this.#caller.controller, chunk)
    if (this.#state !== 'waiting' || this.#head === null) return
    this.#chunks.push(chunk)
    this.#size += chunk.length
    // If there will be another try, the rest of a large body need not be read.
    if (this.#size > MAX_GATHERED && !this.#report(this.#head, null)) {
      this.stop(new DOMException('The answer is not read any further', 'AbortError'))
    }
  }

  onResponseEnd (_controller: Controller, trailers: Parameters<NonNullable<Handler['onResponseEnd']>>[1]): void {
    if (this.#state === 'waiting' && this.#head !== null) this.#report(this.#head, decode(this.#chunks))
    if (this.#state !== 'passing') return
    const { handler, controller } = this.#caller
    if (controller.aborted) handler.onResponseError?.(controller, controller.reason as Error)
    else handler.onResponseEnd?.(controller, trailers)
  }

  onResponseError (_controller: Controller, error: Error): void {
    const before = this.#state
    this.#end()
    if (before === 'passing') this.#events.broken(error)
    if (before === 'waiting') this.#events.failed(error)
  }

  /** Reports the answer to the operation. If it is final, passes on what has been gathered of it. */
  #report (head: Head, body: string | null): boolean {
    const [status, headers] = head
    this.#end()
    const final = this.#events.answered({
      status,
      header: name => findHeader(headers, name),
      body: () => body,
      original: { statusCode: status, headers, body }
    })
    if (!final) return false
    this.#state = 'passing'
    const { handler, controller } = this.#caller
    handler.onResponseStart?.(controller, ...head)
    // The handler gets all of it, even if it asks to pause: it is in memory already.
    for (const chunk of this.#chunks) if (!controller.aborted) handler.onResponseData?.(controller, chunk)
    this.#chunks = []
    return true
  }

  #end (): void {
    this.#state = 'over'
    clearTimeout(this.#timer)
  }
}
