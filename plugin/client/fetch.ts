import { aFunction } from '../shared/check-options.ts'
import { pause } from '../shared/wait.ts'
import { dropRest, tryOnce, tryRedirected } from './fetch-try.ts'
import type { Answered, Redirect } from './fetch-try.ts'
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
  /** The operation's key, to go on with an earlier one, say. Default: that of the request's header, or else a new one. */
  idempotencyKey?: string
}

/** An answer of `fetch`, with what is known of the operation. */
export type IdempotentResponse = Response & { readonly idempotency: OperationInfo }

export type IdempotentFetch = (input: string | URL | Request, init?: IdempotentRequestInit) => Promise<IdempotentResponse>

/**
 * A `fetch` that gives each operation one idempotency key and sends it again, with that key, until there is a final
 * answer: after network errors, timeouts, 425, 429, 502, 503, 504, whatever else a proxy says in its own name, and
 * problems that say they can be retried. Any other answer is final.
 * For servers that honour the key: elsewhere a request that is sent twice may be carried out twice.
 *
 * What it returns rejects
 * - with a `RetryTimeoutError` when `totalTimeout` is over,
 * - with a `RequestFailedError` at once if no try can succeed: a certificate that is not trusted, a port that fetch does
 *   not connect to, a redirection with `redirect: 'error'`,
 * - with the signal's reason when the caller's `signal` aborts,
 * - with a `TypeError` if the request cannot be sent, or not twice because its body is a stream.
 * @throws {IdempotencyOptionError} naming the option and what it should have been.
 */
export function idempotentFetch (options: IdempotentFetchOptions = {}): IdempotentFetch {
  const settings = readOptions(options, { fetch: aFunction('like fetch') })
  return async (input, { idempotencyKey, ...rest } = {}) => {
    const { method, headers, signal, redirect, target, init } = await makeResendable(input, rest)
    const operationKey = keyOf(method, idempotencyKey, headers.get(settings.header), settings)
    if (operationKey !== null) headers.set(settings.header, operationKey.value)
    const operation = new Operation(operationKey?.key ?? null, settings)
    const { fetch = globalThis.fetch } = settings
    for (;;) {
      signal?.throwIfAborted()
      const once = (redirect: Redirect, time: number) => tryOnce(operation.key, time, signal, signal => fetch(target, { ...init, headers, signal, redirect }))
      const result = await tryRedirected(redirect, operation, once)
      if ('error' in result) {
        signal?.throwIfAborted()
        await pause(operation.failed(result.error, result.mayHaveLeft), signal)
        continue
      }
      const wait = operation.answered(answerOf(result))
      if (wait === null) {
        const { key, tries, replayed } = operation
        return Object.assign(result.response, { idempotency: { key, tries, replayed } })
      }
      dropRest(result)
      await pause(wait, signal)
    }
  }
}

function answerOf ({ response, chunks }: Answered): Answer {
  return {
    status: response.status,
    header: name => response.headers.get(name),
    body: () => chunks === null ? null : decode(chunks),
    original: response
  }
}
