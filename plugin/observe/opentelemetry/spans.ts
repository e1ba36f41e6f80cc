import { trace } from '@opentelemetry/api'
import type { Span } from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { EventName, IdempotencyEventOf } from './attributes.ts'

/** Finds the span that gets an event. */
export class Spans {
  /**
   * The span that was active at the first event of the request. Later events may come from a timer that all requests
   * share, where another request's span is active, or none.
   */
  readonly #spans = new WeakMap<FastifyRequest, Span>()
  readonly #keys = new WeakMap<Span, string>()

  /** `undefined` if there is no span, or if it does not record (any more). */
  of (name: EventName, event: IdempotencyEventOf): Span | undefined {
    const span = this.#find(name, event)
    return span?.isRecording() === true ? span : undefined
  }

  #find (name: EventName, event: IdempotencyEventOf): Span | undefined {
    const { request } = event
    if (request === null) return isFromTimer(name, event) ? undefined : trace.getActiveSpan()
    const known = this.#spans.get(request)
    if (known !== undefined || !isFromClaim(name, event)) return known
    const active = trace.getActiveSpan()
    if (active !== undefined) this.#spans.set(request, active)
    return active
  }

  /**
   * Whether the span's attributes describe this key, which is the first one of the span. A batch's span has many keys.
   */
  isAbout (span: Span, { keyHash }: IdempotencyEventOf): boolean {
    const first = this.#keys.get(span)
    if (first === undefined) this.#keys.set(span, keyHash)
    return first === undefined || first === keyHash
  }
}

/** Whether the event comes from the timer of all leases, which renews leases and notices that they are lost. */
function isFromTimer (name: EventName, event: IdempotencyEventOf): boolean {
  return name === 'leaseLost' || ('operation' in event && event.operation === 'renew')
}

/**
 * Whether the event comes from the claim. Until a request is let through, refused or answered, everything happens in
 * the asynchronous context of this request.
 */
function isFromClaim (name: EventName, event: IdempotencyEventOf): boolean {
  if ('operation' in event) return event.operation === 'claim'
  return name !== 'completed' && name !== 'released' && name !== 'leaseLost'
}
