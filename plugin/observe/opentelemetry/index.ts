import { IdempotencyOptionError } from '../../errors.ts'
import { listen } from '../listen.ts'
import { answerAttributes, detailAttributes, SPAN_EVENTS, subjectAttributes } from './attributes.ts'
import type { EventName, IdempotencyEventOf } from './attributes.ts'
import { Spans } from './spans.ts'

/** What `idempotencyTracing` takes. */
export interface IdempotencyTracingOptions {
  /** Also tell the scope, which may be personal data: the id of a customer, say. Default `false`. */
  recordScope?: boolean
}

/**
 * Tells on OpenTelemetry spans what happens to requests with an idempotency key, in all apps of the process: as
 * attributes and events of the span that is active when a key is claimed. It starts no span of its own, and does nothing
 * where none is active. Call it once.
 *
 * ```ts
 * const stop = idempotencyTracing()
 * ```
 * @returns what ends it
 * @throws {IdempotencyOptionError} if an option is not what it should be
 */
export function idempotencyTracing (options: IdempotencyTracingOptions = {}): () => void {
  checkOptions(options)
  const { recordScope = false } = options
  const spans = new Spans()

  const tell = (name: EventName, spanEvent: string) => (event: IdempotencyEventOf): void => {
    const span = spans.of(name, event)
    if (span === undefined) return
    const subject = subjectAttributes(event, recordScope)
    if (spans.isAbout(span, event)) span.setAttributes({ ...subject, ...answerAttributes(name) })
    span.addEvent(spanEvent, { ...subject, ...detailAttributes(event) })
  }
  return listen(Object.fromEntries(Object.entries(SPAN_EVENTS).map(([name, spanEvent]) => [name, tell(name as EventName, spanEvent)])))
}

function checkOptions (options: IdempotencyTracingOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (name !== 'recordScope') throw new IdempotencyOptionError(`fastify-idempotency/opentelemetry: unknown option "${name}"; known is recordScope`)
    if (value !== undefined && typeof value !== 'boolean') throw new IdempotencyOptionError('fastify-idempotency/opentelemetry: option "recordScope" must be true or false')
  }
}
