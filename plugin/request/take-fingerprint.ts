import type { FastifyRequest } from 'fastify'
import type { RouteSettings } from '../options.ts'
import type { Fingerprinter } from './fingerprint.ts'

/** The request's fingerprint, from the parsing of its body to the claim. */
export const kFingerprint = Symbol('fastify-idempotency.fingerprint')

declare module 'fastify' {
  interface FastifyRequest {
    [kFingerprint]: string | null | undefined
  }
}

/**
 * Before validation and the route's own hooks: what they make of the body (defaults, coercion, a time of day) changes
 * with the next deployment, and must not make another request of a retry. What cannot be taken yet (an own
 * `fingerprint` that reads what a hook prepares) is left to the claim. If it still cannot, it is refused there:
 * authentication and validation come first. A promise, which they are to wait for, only if an own one returns one.
 */
export function takeFingerprint (
  fingerprintOf: Fingerprinter, settings: RouteSettings, request: FastifyRequest
): Promise<void> | undefined {
  const { key, header } = settings
  // Without a key nothing will be claimed.
  if (key === undefined && request.headers[header] === undefined) return undefined
  try {
    const fingerprint = fingerprintOf(request, true)
    // It is the claim that says why it cannot be taken.
    if (fingerprint instanceof Promise) return fingerprint.then((taken) => { request[kFingerprint] = taken }, () => {})
    request[kFingerprint] = fingerprint
  } catch {
    // As above.
  }
  return undefined
}

/**
 * At the claim. A promise only if an own `fingerprint` is asked then, and returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE`, or what the route's own `fingerprint` throws.
 */
export function takenFingerprint (fingerprintOf: Fingerprinter, request: FastifyRequest): string | Promise<string> {
  return request[kFingerprint] ?? fingerprintOf(request, false)
}
