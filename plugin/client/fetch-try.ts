import { failureOf } from './failure.ts'
import { gather } from './gather.ts'
import type { Operation } from './operation.ts'
import { isGathered } from './policy.ts'
import { toPlatformResponse } from './response.ts'

export type Redirect = Request['redirect']

export interface Answered {
  response: Response
  /** The body if it was waited for and not too large. */
  chunks: Uint8Array[] | null
}

interface Failed {
  error: unknown
  /** Whether the request was sent all the same, where that is known. */
  mayHaveLeft?: boolean
}

export type TryResult = Answered | Failed

/** One try of the operation, with what the platform does not tell of its redirections. */
export async function tryRedirected (
  redirect: Redirect, operation: Operation, once: (redirect: Redirect, time: number) => Promise<TryResult>
): Promise<TryResult> {
  const time = operation.begin()
  const end = performance.now() + time
  // That there was one would be an error like any other.
  const result = await once(redirect === 'error' ? 'manual' : redirect, time)
  if (redirect === 'error' && 'response' in result && isRedirection(result.response)) {
    dropRest(result)
    const { status } = result.response
    // These two mean by definition that it is to be carried out elsewhere. Browsers show the status of none.
    return { error: unfollowed(status), mayHaveLeft: status !== 307 && status !== 308 }
  }
  if (redirect !== 'follow' || 'response' in result || failureOf(result.error) !== 'unsent') return result
  // On the way to the server that was called, or to another one, after the first had got the request? Without
  // following, it fails again if it was the first.
  const again = await once('manual', Math.max(1, Math.ceil(end - performance.now())))
  if ('error' in again && failureOf(again.error) === 'unsent') return again
  operation.sentAgain()
  if ('response' in again && !isRedirection(again.response)) return again
  if ('response' in again) dropRest(again)
  return result
}

function isRedirection ({ type, status }: Response): boolean {
  return type === 'opaqueredirect' || [301, 302, 303, 307, 308].includes(status)
}

function unfollowed (status: number): TypeError {
  const how = status === 0 ? '' : ` with status ${status}`
  return Object.assign(new TypeError(`the answer redirects${how}, and the option "redirect" is 'error'`), { code: 'REDIRECTED' })
}

/** Nobody will read the rest of a large one. */
export function dropRest ({ chunks, response }: Answered): void {
  if (chunks === null) response.body?.cancel().catch(() => {})
}

/** One try. Its time covers the body too, unless that is left to the caller to read. */
export async function tryOnce (key: string | null, time: number, signal: AbortSignal | null, send: (signal: AbortSignal) => Promise<Response>): Promise<TryResult> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(new DOMException(`There was no answer within ${time} ms`, 'TimeoutError')), time)
  try {
    // The caller's signal outlasts the try: it also stops a body that is still being read.
    const response = toPlatformResponse(await send(signal === null ? timeout.signal : AbortSignal.any([signal, timeout.signal])))
    const gathered = isGathered(response.status, key, response.headers.get('content-type'))
    return { response, chunks: gathered ? await gather(response) : null }
  } catch (error) {
    return { error }
  } finally {
    clearTimeout(timer)
  }
}
