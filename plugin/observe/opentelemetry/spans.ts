import { trace } from '@opentelemetry/api'
import type { Span } from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { EventName, IdempotencyEventOf } from './attributes.ts'

/** Finds the span that an event is to be told on. */
export class Spans {
  /**
   * The span that was active when the request's first event came. Later ones may come from a timer that all requests
   * share, where another request's span is the active one, or none.
   */
  readonly #spans = new WeakMap<FastifyRequest, Span>()
  readonly #keys = new WeakMap<Span, string>()

  /** `undefined` if there is none, or it is not recorded, or no more. */
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

  /** Whether a span's attributes are about this key: the first that it met. The span of a batch meets many. */
  isAbout (span: Span, { keyHash }: IdempotencyEventOf): boolean {
    const first = this.#keys.get(span)
    if (first === undefined) this.#keys.set(span, keyHash)
    return first === undefined || first === keyHash
  }
}

/** Leases are renewed, and found to be lost, by a timer of the whole process. */
function isFromTimer (name: EventName, event: IdempotencyEventOf): boolean {
  return name === 'leaseLost' || ('operation' in event && event.operation === 'renew')
}

/** Until a request is let through, refused or answered, everything happens in its own asynchronous context. */
function isFromClaim (name: EventName, event: IdempotencyEventOf): boolean {
  if ('operation' in event) return event.operation === 'claim'
  return name !== 'completed' && name !== 'released' && name !== 'leaseLost'
}
