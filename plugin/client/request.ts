import { toPlatformBody } from './body.ts'

/** A request that can be sent any number of times, with the same bytes each time. */
export interface Resendable {
  method: string
  headers: Headers
  /** The caller's signal. */
  signal: AbortSignal | null
  redirect: Request['redirect']
  /** The arguments of `fetch`, except for headers and signal. */
  target: string | Request
  init: RequestInit
}

/**
 * Brings the request's body into a form that can be read any number of times. The body of a form is written only once,
 * since each try would otherwise separate its parts by another random boundary.
 * @throws {TypeError} if the request cannot be sent, or cannot be sent twice
 */
export async function makeResendable (target: string | URL | Request, init: RequestInit): Promise<Resendable> {
  // As with `fetch`, the caller may change all of these after the call has returned, so they are read before any await.
  const address = target instanceof Request ? target : String(target)
  const givenHeaders = new Headers(init.headers ?? (target instanceof Request ? target.headers : undefined))
  const givenBody = toPlatformBody(init.body)
  const given = givenBody instanceof Promise ? await givenBody : givenBody
  // This throws what `fetch` would throw. Another try would throw the same.
  const request = new Request(address, { ...init, headers: givenHeaders, ...(given !== undefined && { body: given }) })
  if (!/^https?:/.test(request.url)) {
    throw new TypeError('fastify-idempotency/client: only http: and https: URLs can be requested')
  }
  if (request.mode === 'no-cors') {
    throw new TypeError("fastify-idempotency/client: with mode 'no-cors' browsers send no idempotency key, and show " +
      'no answer')
  }
  const { method, headers, redirect } = request
  return {
    method,
    headers,
    signal: init.signal !== undefined ? init.signal : target instanceof Request ? target.signal : null,
    redirect,
    target: address,
    // An empty body must be given too: otherwise fetch would read the body of `target`, which has been read before.
    init: method === 'GET' || method === 'HEAD' ? init : { ...init, body: await bodyOf(given, request) }
  }
}

/**
 * The body as text or as a Blob, which a fetch can read any number of times, also when a 307 or 308 makes it send the
 * body to another address. Bytes are not suitable: the fetch of Node.js 20 and 22 detaches their memory.
 */
async function bodyOf (given: unknown, request: Request): Promise<string | Blob> {
  if (typeof given === 'string' || given instanceof Blob) return given
  // The headers contain their content type already.
  if (given instanceof URLSearchParams) return given.toString()
  return await request.blob()
}
