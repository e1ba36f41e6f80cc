import { aBoolean, checkOptions } from '../../shared/check-options.ts'
import type { RulesOf } from '../../shared/check-options.ts'
import { listen } from '../listen.ts'
import { answerAttributes, detailAttributes, SPAN_EVENTS, subjectAttributes } from './attributes.ts'
import type { EventName, IdempotencyEventOf } from './attributes.ts'
import { Spans } from './spans.ts'

/** What `idempotencyTracing` takes. */
export interface IdempotencyTracingOptions {
  /** Whether spans also get the scope, which may be personal data, such as the id of a customer. Default `false`. */
  recordScope?: boolean
}

const RULES: RulesOf<IdempotencyTracingOptions> = { recordScope: aBoolean }

/**
 * Records on OpenTelemetry spans what happens to requests with an idempotency key, in all apps of the process: as
 * attributes and events of the span that is active when a key is claimed. It starts no span of its own, and does
 * nothing if no span is active. Call it once.
 *
 * ```ts
 * const stop = idempotencyTracing()
 * ```
 * @returns a function that stops the recording
 * @throws {IdempotencyOptionError} if an option is not what it must be
 */
export function idempotencyTracing (options: IdempotencyTracingOptions = {}): () => void {
  checkOptions('fastify-idempotency/opentelemetry', RULES, options)
  const { recordScope = false } = options
  const spans = new Spans()

  const recorder = (name: EventName, spanEvent: string) => (event: IdempotencyEventOf): void => {
    const span = spans.of(name, event)
    if (span === undefined) return
    const subject = subjectAttributes(event, recordScope)
    if (spans.isAbout(span, event)) span.setAttributes({ ...subject, ...answerAttributes(name) })
    span.addEvent(spanEvent, { ...subject, ...detailAttributes(event) })
  }
  const names = Object.entries(SPAN_EVENTS) as Array<[EventName, string]>
  return listen(Object.fromEntries(names.map(([name, spanEvent]) => [name, recorder(name, spanEvent)])))
}
