import type { FastifyRequest } from 'fastify'
import type { RouteSettings } from '../options.ts'
import type { Fingerprinter } from './fingerprint.ts'

/** On a request: its fingerprint, from the parsing of its body to the claim. */
export const kFingerprint = Symbol('fastify-idempotency.fingerprint')

declare module 'fastify' {
  interface FastifyRequest {
    [kFingerprint]: string | null | undefined
  }
}

/**
 * Takes the fingerprint before validation and the route's own hooks. What these make of the body (defaults, coercion, a
 * time of day) changes with the next deployment, and must not turn a retry into another request. An own `fingerprint`
 * that reads what a hook prepares fails here, and is called again at the claim. If it fails there too, the claim
 * refuses the request: authentication and validation come first. A promise, which the next hooks wait for, only if an
 * own `fingerprint` returns one.
 */
export function takeFingerprint (
  fingerprintOf: Fingerprinter, settings: RouteSettings, request: FastifyRequest
): Promise<void> | undefined {
  const { key, header } = settings
  // A request without a key claims nothing.
  if (key === undefined && request.headers[header] === undefined) return undefined
  try {
    const fingerprint = fingerprintOf(request, true)
    // If it cannot be taken, the claim says why.
    if (fingerprint instanceof Promise) return fingerprint.then((taken) => { request[kFingerprint] = taken }, () => {})
    request[kFingerprint] = fingerprint
  } catch {
    // As above.
  }
  return undefined
}

/**
 * The fingerprint, at the claim. A promise only if the route's own `fingerprint` is called now, and returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE`, or what the route's own `fingerprint` throws.
 */
export function takenFingerprint (fingerprintOf: Fingerprinter, request: FastifyRequest): string | Promise<string> {
  return request[kFingerprint] ?? fingerprintOf(request, false)
}
