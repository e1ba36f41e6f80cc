import type { FastifyRequest } from 'fastify'
import { canonicalJson } from '../core/canonical-json.ts'
import { sha256 } from '../core/sha256.ts'
import type { RouteSettings } from '../options.ts'
import { bodyUnreadable } from '../refusals.ts'
import { hasBody, hashOf, pathOf, valueOf } from './fingerprint.ts'
import { andThen } from './option-call.ts'

/**
 * The fingerprint of records of format 1: of method, path with query, and the body as the route's validation and hooks
 * left it. So it is taken at the claim. An own function that returned a promise before is not called again. A promise
 * only if that function returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE` if the body is something else than JSON, text or bytes.
 */
export function legacyFingerprintOf (
  request: FastifyRequest, { fingerprint: own }: RouteSettings
): string | Promise<string> {
  if (own !== undefined) {
    const head = `${request.method} ${pathOf(request)}\nown\n`
    return andThen(valueOf(own, request, false), value => hashOf(head, value))
  }
  const { body } = request
  const head = `${request.method} ${request.url}\n`
  if (body === undefined) {
    if (hasBody(request)) throw bodyUnreadable('it was not parsed into something that can be compared')
    return sha256(`${head}none\n`)
  }
  if (typeof body === 'string') return hashOf(`${head}text\n`, body)
  if (body instanceof Uint8Array) return hashOf(`${head}bytes\n`, body)
  if (/^multipart\//i.test(request.headers['content-type'] ?? '')) throw bodyUnreadable('it is multipart')
  return sha256(`${head}json\n${canonicalJson(body)}`)
}
