import type { FastifyRequest } from 'fastify'
import type { RouteSettings } from '../options.ts'
import { canonicalJson, unreadable } from './canonical.ts'
import { hasBody, hashOf, pathOf, valueOf } from './fingerprint.ts'
import { sha256 } from './sha256.ts'

/**
 * The fingerprint as records of format 1 have it: of method, path with query, and body as the route's validation and
 * its hooks left it, so it is taken at the claim.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE` if the body is something else than JSON, text or bytes.
 */
export function legacyFingerprintOf (request: FastifyRequest, { fingerprint: own }: RouteSettings): string {
  if (own !== undefined) return hashOf(`${request.method} ${pathOf(request)}\nown\n`, valueOf(own, request, false))
  const { body } = request
  const head = `${request.method} ${request.url}\n`
  if (body === undefined) {
    if (hasBody(request)) throw unreadable('it was not parsed into something that can be compared')
    return sha256(`${head}none\n`)
  }
  if (typeof body === 'string') return sha256(`${head}text\n${body}`)
  if (body instanceof Uint8Array) return hashOf(`${head}bytes\n`, body)
  if (/^multipart\//i.test(request.headers['content-type'] ?? '')) throw unreadable('it is multipart')
  return sha256(`${head}json\n${canonicalJson(body)}`)
}
