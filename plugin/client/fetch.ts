import { aFunction } from '../shared/check-options.ts'
import { pause } from '../shared/wait.ts'
import { dropRest, tryOnce, tryRedirected } from './fetch-try.ts'
import type { Answered, Redirect, TryResult } from './fetch-try.ts'
import { decode } from './gather.ts'
import { keyOf } from './key.ts'
import { Operation } from './operation.ts'
import type { Answer, OperationInfo } from './operation.ts'
import { readOptions } from './options.ts'
import type { RetryOptions } from './options.ts'
import { makeResendable } from './request.ts'

type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

export interface IdempotentFetchOptions extends RetryOptions {
  /** What sends each try. Default: the platform's `fetch`. */
  fetch?: Fetch
}

export interface IdempotentRequestInit extends RequestInit {
  /**
   * The operation's key, for example to continue an earlier operation. Default: the key in the request's header, or
   * else a new one.
   */
  idempotencyKey?: string
}

/** An answer of `fetch`, with what the client knows about the operation. */
export type IdempotentResponse = Response & { readonly idempotency: OperationInfo }

export type IdempotentFetch =
  (input: string | URL | Request, init?: IdempotentRequestInit) => Promise<IdempotentResponse>

/**
 * Makes a `fetch` that gives each operation one idempotency key and sends the request again, with the same key, until
 * there is a final answer. It tries again after network errors, timeouts, 425, 429, 502, 503 and 504, after other
 * errors that come from a proxy and not from the service, and after problem documents that say that a retry can
 * succeed. Any other answer is final. Use it only with servers that honour the key: any other server may carry the
 * request out twice.
 *
 * The returned function rejects
 * - with a `RetryTimeoutError` when `totalTimeout` is over,
 * - with a `RequestFailedError` at once if no try can succeed: the certificate is not trusted, fetch does not connect
 *   to that port, or the answer is a redirection although `redirect` is `'error'`,
 * - with the signal's reason when the caller's `signal` aborts,
 * - with a `TypeError` if the request cannot be sent, or cannot be sent twice because its body is a stream.
 * @throws {IdempotencyOptionError} that names the option and what it must be
 */
export function idempotentFetch (options: IdempotentFetchOptions = {}): IdempotentFetch {
  const settings = readOptions(options, { fetch: aFunction('like fetch') })
  return async (input, { idempotencyKey, ...rest } = {}) => {
    const { method, headers, signal, redirect, target, init } = await makeResendable(input, rest)
    const operationKey = keyOf(method, idempotencyKey, headers.get(settings.header), settings)
    if (operationKey !== null) headers.set(settings.header, operationKey.value)
    const operation = new Operation(operationKey?.key ?? null, settings)
    const { fetch = globalThis.fetch } = settings
    const once = (redirect: Redirect, time: number): Promise<TryResult> => tryOnce(
      operation.key, time, signal, signal => fetch(target, { ...init, headers, signal, redirect })
    )
    for (;;) {
      signal?.throwIfAborted()
      const result = await tryRedirected(redirect, operation, once)
      if ('error' in result) {
        signal?.throwIfAborted()
        await pause(operation.failed(result.error, result.mayHaveLeft), signal)
        continue
      }
      const wait = operation.answered(toAnswer(result))
      if (wait === null) {
        const { key, tries, replayed } = operation
        return Object.assign(result.response, { idempotency: { key, tries, replayed } })
      }
      dropRest(result)
      await pause(wait, signal)
    }
  }
}

function toAnswer ({ response, chunks }: Answered): Answer {
  return {
    status: response.status,
    header: name => response.headers.get(name),
    body: () => chunks === null ? null : decode(chunks),
    original: response
  }
}
