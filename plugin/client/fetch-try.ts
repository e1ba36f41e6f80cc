import { failureOf } from './failure.ts'
import { gather } from './gather.ts'
import type { Operation } from './operation.ts'
import { isGathered } from './policy.ts'
import { toPlatformResponse } from './response.ts'

export type Redirect = Request['redirect']

export interface Answered {
  response: Response
  /** The body, if the client waited for it and it is not too large. */
  chunks: Uint8Array[] | null
}

interface Failed {
  error: unknown
  /** Whether the request was sent all the same, if this is known. */
  mayHaveLeft?: boolean
}

export type TryResult = Answered | Failed

/** One try of the operation. It also finds out about redirections what the platform does not report. */
export async function tryRedirected (
  redirect: Redirect,
  operation: Operation,
  once: (redirect: Redirect, time: number) => Promise<TryResult>
): Promise<TryResult> {
  const time = operation.begin()
  const endsAt = performance.now() + time
  // With 'error' a redirection would look like any other error.
  const result = await once(redirect === 'error' ? 'manual' : redirect, time)
  if (redirect === 'error' && 'response' in result && isRedirection(result.response)) {
    dropRest(result)
    const { status } = result.response
    // By definition, a server that answers with 307 or 308 has not carried the request out. Browsers do not show the
    // status.
    return { error: unfollowed(status), mayHaveLeft: status !== 307 && status !== 308 }
  }
  if (redirect !== 'follow' || 'response' in result || failureOf(result.error) !== 'unsent') return result
  // Did the try fail on the way to the server itself, or on the way to another one, after this server had got the
  // request? A try that follows no redirection fails again in the first case only.
  const again = await once('manual', Math.max(1, Math.ceil(endsAt - performance.now())))
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
  const error = new TypeError(`the answer redirects${how}, and the option "redirect" is 'error'`)
  return Object.assign(error, { code: 'REDIRECTED' })
}

/** Cancels the rest of a body that nobody will read. */
export function dropRest ({ chunks, response }: Answered): void {
  if (chunks === null) response.body?.cancel().catch(() => {})
}

/** One try. Its time includes the body, unless the caller reads the body. */
export async function tryOnce (
  key: string | null,
  time: number,
  signal: AbortSignal | null,
  send: (signal: AbortSignal) => Promise<Response>
): Promise<TryResult> {
  const timeout = new AbortController()
  const timer = setTimeout(() => {
    timeout.abort(new DOMException(`There was no answer within ${time} ms`, 'TimeoutError'))
  }, time)
  try {
    // The caller's signal stays in use after the try: it also stops a body that is still being read.
    const either = signal === null ? timeout.signal : AbortSignal.any([signal, timeout.signal])
    const response = toPlatformResponse(await send(either))
    const gathered = isGathered(response.status, key, response.headers.get('content-type'))
    return { response, chunks: gathered ? await gather(response) : null }
  } catch (error) {
    return { error }
  } finally {
    clearTimeout(timer)
  }
}
