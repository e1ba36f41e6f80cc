/** A request that can be sent any number of times, each time the same bytes. */
export interface Resendable {
  method: string
  headers: Headers
  /** The caller's. */
  signal: AbortSignal | null
  /** What to give to `fetch`, apart from headers and signal. */
  target: string | URL | Request
  init: RequestInit
}

/**
 * Reads the request's body into memory. Also that of a form, whose parts would be separated by another random boundary
 * with each try.
 * @throws {TypeError} if the request cannot be sent, or not twice
 */
export async function makeResendable (target: string | URL | Request, init: RequestInit): Promise<Resendable> {
  if (isStream(init.body)) {
    throw new TypeError('fastify-idempotency/client: a stream can be sent only once, and a retry must send the same body: read it into a string or bytes first')
  }
  // Throws what `fetch` would throw: there is no point in trying that again.
  const request = new Request(target, init)
  if (!/^https?:/.test(request.url)) {
    throw new TypeError('fastify-idempotency/client: only http: and https: URLs can be requested')
  }
  if (request.mode === 'no-cors') {
    throw new TypeError("fastify-idempotency/client: with mode 'no-cors' browsers send no idempotency key, and show no answer")
  }
  const { method, headers } = request
  const body = new Uint8Array(await request.arrayBuffer())
  return {
    method,
    headers,
    signal: init.signal !== undefined ? init.signal : target instanceof Request ? target.signal : null,
    target,
    // Also an empty body, or `target` would be asked for its own, which has been read.
    init: method === 'GET' || method === 'HEAD' ? init : { ...init, body }
  }
}

/** A web stream, a Node.js stream, or what else can be read only once, piece by piece. */
function isStream (body: unknown): boolean {
  return typeof body === 'object' && body !== null && ('getReader' in body || Symbol.asyncIterator in body)
}
