import type { Dispatcher } from 'undici'
import { keyOf } from './key.ts'
import { readOptions } from './options.ts'
import type { RetryOptions } from './options.ts'
import { IdempotentDispatch } from './undici-dispatch.ts'
import { copyOfList, findHeader, toRecord, withHeader } from './undici-headers.ts'
import type { HeaderRecord } from './undici-headers.ts'

export { IdempotencyOptionError } from '../shared/option-error.ts'
export { RequestFailedError, RetryTimeoutError } from './errors.ts'
export { makeKey } from './key.ts'
export type { OperationInfo } from './operation.ts'
export type { RetryOptions } from './options.ts'
export type { IdempotentContext } from './undici-dispatch.ts'

/**
 * An undici interceptor that does what `idempotentFetch` does: `dispatcher.compose(idempotent())`. A request whose
 * headers carry a key keeps that; what is known of the operation is in the `context` of the answer.
 *
 * Requests fail with a `RetryTimeoutError` when `totalTimeout` is over, with a `RequestFailedError` if no try can succeed
 * (a certificate that is not trusted, say), and with a `TypeError` if their body cannot be sent twice.
 * @throws {IdempotencyOptionError} naming the option and what it should have been.
 */
export function idempotent (options: RetryOptions = {}): Dispatcher.DispatcherComposeInterceptor {
  const settings = readOptions(options)
  return dispatch => (request, handler) => {
    // What becomes a tunnel or a web socket has no answer to wait for.
    if (request.method === 'CONNECT' || Boolean(request.upgrade)) return dispatch(request, handler)
    if (!isResendable(request.body)) {
      throw new TypeError("fastify-idempotency/client: a retry must send the same body, so it must be a string, bytes or a Blob: a stream can be read only once, and a form is written differently each time. undici's fetch makes a stream of every body: use idempotentFetch with it")
    }
    const headers = toRecord(request.headers)
    const operationKey = keyOf(request.method, undefined, findHeader(headers, settings.header), settings)
    const resendable = copyOf(request, operationKey === null ? headers : withHeader(headers, settings.header, operationKey.value))
    return new IdempotentDispatch(operationKey?.key ?? null, settings, handler, tryHandler => dispatch(resendable, tryHandler)).start()
  }
}

/** What each try sends, whatever the caller does meanwhile to what the request was made of. */
function copyOf (request: Dispatcher.DispatchOptions, headers: HeaderRecord): Dispatcher.DispatchOptions {
  const copy = { ...request, headers }
  const { body, query }: { body?: unknown, query?: Record<string, unknown> | null } = request
  if (ArrayBuffer.isView(body)) copy.body = new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice()
  else if (body instanceof ArrayBuffer) copy.body = new Uint8Array(body).slice()
  // Its values are primitive, or lists of such.
  if (query) copy.query = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, copyOfList(value)]))
  return copy
}

function isResendable (body: unknown): boolean {
  return body === null || body === undefined || typeof body === 'string' || ArrayBuffer.isView(body) || body instanceof ArrayBuffer || body instanceof Blob
}
