import type { FastifyReply } from 'fastify'
import { IdempotencyError } from '../errors.ts'
import type { PluginSettings, RouteSettings } from '../options.ts'

/** The headers that go with a refusal, whoever writes its body. */
export function refusalHeaders (reply: FastifyReply, error: IdempotencyError, { docsUrl }: PluginSettings, { retryAfter }: RouteSettings): void {
  if (error.retryable) reply.header('retry-after', retryAfter)
  const link = `<${docsUrl}>; rel="describedby"`
  // What the app links to from each of its answers stays.
  const links = reply.getHeader('link')
  reply.header('link', links === undefined ? link : [links, link].flat().join(', '))
}

/** Makes the reply one with a problem document (RFC 9457): bytes, so that no schema or serializer of the route touches it. */
export function problemOf (reply: FastifyReply, error: IdempotencyError, { docsUrl }: PluginSettings): Buffer {
  const { statusCode, title, message, code, retryable, originalStatus } = error
  const problem = { type: docsUrl, title, status: statusCode, detail: message, code, retryable, originalStatus }
  reply.code(statusCode).type('application/problem+json')
  return Buffer.from(JSON.stringify(problem))
}

export function inProgress (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_IN_PROGRESS', 'A request with this idempotency key is being worked on: send it again later to get its answer')
}

export function keyReused (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_REUSED', 'This idempotency key was used before for a request with another method, path, media type or body: send a new key with a new operation, and the same request with a retry')
}

export function notReplayable (statusCode: number): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_NOT_REPLAYABLE', `The request with this idempotency key was carried out and answered with status ${statusCode}, but its response was not kept: look its effect up instead of sending it again`, { originalStatus: statusCode })
}

/** Another attempt's outcome stands in the journal, so this one's transaction cannot commit. */
export function completedElsewhere (cause?: unknown): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_IN_PROGRESS', 'Another attempt of this request has been completed: send it again to get its answer', { cause })
}

export function notCommitted (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_NOT_COMMITTED', 'The request was worked on, but its answer does not stand where it was to be committed: send it again')
}

export function journalInconsistent (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_JOURNAL_INCONSISTENT', 'The request with this idempotency key was carried out before, but its answer cannot be found: look its effect up instead of sending it again')
}
