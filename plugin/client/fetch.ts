import { decode, gather } from './gather.ts'
import { keyOf } from './key.ts'
import { Operation } from './operation.ts'
import type { Answer, OperationInfo } from './operation.ts'
import { checkOptions } from './options.ts'
import type { RetryOptions } from './options.ts'
import { isGathered } from './policy.ts'
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
 * answer: after network errors, timeouts, 425, 429, 502, 503, 504 and a 409 that says it can be retried. Any other answer is final.
 * For servers that honour the key: elsewhere a request that is sent twice may be carried out twice.
 *
 * What it returns rejects
 * - with a `RetryTimeoutError` when `totalTimeout` is over,
 * - with the signal's reason when the caller's `signal` aborts,
 * - with a `TypeError` if the request cannot be sent, or not twice because its body is a stream.
 * @throws {IdempotencyOptionError} naming the option and what it should have been.
 */
export function idempotentFetch (options: IdempotentFetchOptions = {}): IdempotentFetch {
  const settings = checkOptions(options, { fetch: value => typeof value === 'function' ? undefined : 'a function like fetch' })
  return async (input, { idempotencyKey, ...rest } = {}) => {
    const { method, headers, signal, target, init } = await makeResendable(input, rest)
    const operationKey = keyOf(method, idempotencyKey, { name: settings.header, value: headers.get(settings.header) })
    if (operationKey !== null) headers.set(settings.header, operationKey.value)
    const operation = new Operation(operationKey?.key ?? null, settings)
    const { fetch = globalThis.fetch } = settings
    for (;;) {
      signal?.throwIfAborted()
      const result = await tryOnce(operation.key, operation.begin(), signal, signal => fetch(target, { ...init, headers, signal }))
      if ('error' in result) {
        signal?.throwIfAborted()
        await pause(operation.failed(result.error), signal)
        continue
      }
      const wait = operation.answered(answerOf(result))
      if (wait === null) {
        const { key, tries, replayed } = operation
        return Object.assign(result.response, { idempotency: { key, tries, replayed } })
      }
      // Nobody will read the rest of a large one.
      if (result.chunks === null) result.response.body?.cancel().catch(() => {})
      await pause(wait, signal)
    }
  }
}

interface Answered {
  response: Response
  /** The body if it was waited for and not too large. */
  chunks: Uint8Array[] | null
}

/** One try. Its time covers the body too, unless that is left to the caller to read. */
async function tryOnce (key: string | null, time: number, signal: AbortSignal | null, send: (signal: AbortSignal) => Promise<Response>): Promise<Answered | { error: unknown }> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(new DOMException(`There was no answer within ${time} ms`, 'TimeoutError')), time)
  try {
    // The caller's signal outlasts the try: it also stops a body that is still being read.
    const response = await send(signal === null ? timeout.signal : AbortSignal.any([signal, timeout.signal]))
    const gathered = isGathered(response.status, key, response.headers.get('content-type') ?? '')
    return { response, chunks: gathered ? await gather(response) : null }
  } catch (error) {
    return { error }
  } finally {
    clearTimeout(timer)
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

/** Ends early when the signal aborts. */
async function pause (milliseconds: number, signal: AbortSignal | null): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal?.addEventListener('abort', end)
  })
}
