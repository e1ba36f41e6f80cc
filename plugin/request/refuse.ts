import type { FastifyReply } from 'fastify'
import type { IdempotencyError } from '../errors.ts'
import type { PluginSettings, RouteSettings } from '../options.ts'

/** The headers that go with a refusal, whoever writes its body. */
export function refusalHeaders (reply: FastifyReply, error: IdempotencyError, { docsUrl }: PluginSettings, { retryAfter }: RouteSettings): void {
  if (error.retryable) reply.header('retry-after', retryAfter)
  reply.header('link', `<${docsUrl}>; rel="describedby"`)
}

/** Answers with a problem document (RFC 9457), sent as bytes so that no schema or serializer of the route touches it. */
export function sendProblem (reply: FastifyReply, error: IdempotencyError, { docsUrl }: PluginSettings): void {
  const { statusCode, title, message, code, retryable, originalStatus } = error
  const problem = { type: docsUrl, title, status: statusCode, detail: message, code, retryable, originalStatus }
  reply.code(statusCode).type('application/problem+json').send(Buffer.from(JSON.stringify(problem)))
}
