import type { FastifyReply } from 'fastify'
import type { IdempotencyError } from '../errors.ts'
import type { PluginSettings, RouteSettings } from '../options.ts'

/** Adds the headers that go with a refusal, whoever writes its body. */
export function addRefusalHeaders (
  reply: FastifyReply, error: IdempotencyError, { docsUrl }: PluginSettings, { retryAfter }: RouteSettings
): void {
  if (error.retryable) reply.header('retry-after', retryAfter)
  const link = `<${docsUrl}>; rel="describedby"`
  // The links that the app adds to each of its answers stay.
  const links = reply.getHeader('link')
  reply.header('link', links === undefined ? link : [links, link].flat().join(', '))
}

/**
 * Makes the reply a problem document (RFC 9457).
 * @returns its body, as bytes, so that no schema or serializer of the route touches it
 */
export function problemOf (reply: FastifyReply, error: IdempotencyError, { docsUrl }: PluginSettings): Buffer {
  const { statusCode, title, message, code, retryable, originalStatus } = error
  const problem = { type: docsUrl, title, status: statusCode, detail: message, code, retryable, originalStatus }
  reply.code(statusCode).type('application/problem+json')
  return Buffer.from(JSON.stringify(problem))
}
