import { toPlatformBody } from './body.ts'

/** A request that can be sent any number of times, each time the same bytes. */
export interface Resendable {
  method: string
  headers: Headers
  /** The caller's. */
  signal: AbortSignal | null
  redirect: Request['redirect']
  /** What to give to `fetch`, apart from headers and signal. */
  target: string | Request
  init: RequestInit
}

/**
 * Has the request's body in a form that can be read again and again. That of a form is written once, since its parts
 * would be separated by another random boundary with each try.
 * @throws {TypeError} if the request cannot be sent, or not twice
 */
export async function makeResendable (target: string | URL | Request, init: RequestInit): Promise<Resendable> {
  // As with `fetch`, the caller may change all of these once the call has returned: they are read before any await.
  const address = target instanceof Request ? target : String(target)
  const givenHeaders = new Headers(init.headers ?? (target instanceof Request ? target.headers : undefined))
  const givenBody = toPlatformBody(init.body)
  const given = givenBody instanceof Promise ? await givenBody : givenBody
  // Throws what `fetch` would throw: there is no point in trying that again.
  const request = new Request(address, { ...init, headers: givenHeaders, ...(given !== undefined && { body: given }) })
  if (!/^https?:/.test(request.url)) {
    throw new TypeError('fastify-idempotency/client: only http: and https: URLs can be requested')
  }
  if (request.mode === 'no-cors') {
    throw new TypeError("fastify-idempotency/client: with mode 'no-cors' browsers send no idempotency key, and show no answer")
  }
  const { method, headers, redirect } = request
  return {
    method,
    headers,
    signal: init.signal !== undefined ? init.signal : target instanceof Request ? target.signal : null,
    redirect,
    target: address,
    // Also an empty body, or `target` would be asked for its own, which has been read.
    init: method === 'GET' || method === 'HEAD' ? init : { ...init, body: await bodyOf(given, request) }
  }
}

/**
 * Text and Blobs, which a fetch can read as often as it likes: also for itself, when a 307 or 308 sends the body
 * elsewhere. Of bytes the fetch of Node.js 20 and 22 takes the memory away from their owner.
 */
async function bodyOf (given: unknown, request: Request): Promise<string | Blob> {
  if (typeof given === 'string' || given instanceof Blob) return given
  // Their content type stands in the headers.
  if (given instanceof URLSearchParams) return given.toString()
  return await request.blob()
}
