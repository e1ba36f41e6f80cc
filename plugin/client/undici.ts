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
 * headers contain a key keeps that key. The `context` of the answer contains what the client knows about the operation.
 *
 * Requests fail with a `RetryTimeoutError` when `totalTimeout` is over, with a `RequestFailedError` if no try can
 * succeed (for example because the certificate is not trusted), and with a `TypeError` if their body cannot be sent
 * twice.
 * @throws {IdempotencyOptionError} that names the option and what it must be
 */
export function idempotent (options: RetryOptions = {}): Dispatcher.DispatcherComposeInterceptor {
  const settings = readOptions(options)
  return dispatch => (request, handler) => {
    // A tunnel or a web socket has no answer that could be waited for.
    if (request.method === 'CONNECT' || Boolean(request.upgrade)) return dispatch(request, handler)
    if (!isResendable(request.body)) {
      throw new TypeError('fastify-idempotency/client: a retry must send the same body, so it must be a string, ' +
        'bytes or a Blob: a stream can be read only once, and a form is written differently each time. ' +
        "undici's fetch makes a stream of every body: use idempotentFetch with it")
    }
    const headers = toRecord(request.headers)
    const { header } = settings
    const operationKey = keyOf(request.method, undefined, findHeader(headers, header), settings)
    const sent = operationKey === null ? headers : withHeader(headers, header, operationKey.value)
    const resendable = copyOf(request, sent)
    const send = (tryHandler: Dispatcher.DispatchHandler): boolean => dispatch(resendable, tryHandler)
    return new IdempotentDispatch(operationKey?.key ?? null, settings, handler, send).start()
  }
}

/** A copy of the request for all tries, which later changes by the caller do not affect. */
function copyOf (request: Dispatcher.DispatchOptions, headers: HeaderRecord): Dispatcher.DispatchOptions {
  const copy = { ...request, headers }
  const { body, query }: { body?: unknown, query?: Record<string, unknown> | null } = request
  if (ArrayBuffer.isView(body)) copy.body = new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice()
  else if (body instanceof ArrayBuffer) copy.body = new Uint8Array(body).slice()
  // The values of a query are primitive values, or lists of them.
  if (query) copy.query = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, copyOfList(value)]))
  return copy
}

function isResendable (body: unknown): boolean {
  return body === null || body === undefined || typeof body === 'string' ||
    ArrayBuffer.isView(body) || body instanceof ArrayBuffer || body instanceof Blob
}
