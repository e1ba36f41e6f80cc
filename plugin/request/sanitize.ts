import { routeOf } from '../observe/channels.ts'
import { bareError } from '../shared/error-facts.ts'
import { kindOf } from '../shared/values.ts'
import type { KeptResponse } from '../store/store.ts'
import { readOption } from './option-call.ts'
import type { Run } from './run.ts'

/**
 * What the option `sanitize` leaves of a response before it is kept. `null` if it fails: it is better to keep nothing
 * than something that must not be in the store. A function of the app must not turn a finished charge into a 500. A
 * promise only if the function returns one.
 */
export function sanitized (
  run: Run, statusCode: number, response: KeptResponse
): KeptResponse | null | Promise<KeptResponse | null> {
  const { sanitize } = run.settings
  if (sanitize === undefined) return response
  // The names of headers that the run removed show nothing of the response, and are kept as they are.
  const removed = response.headers.filter(([, value]) => value === null)
  const present = response.headers.filter((entry): entry is [string, string | string[]] => entry[1] !== null)
  const headers = Object.fromEntries(present)
  return readOption(
    () => sanitize({ statusCode, headers, body: Buffer.from(response.body as string) }, run.request),
    (left) => {
      if (typeof left !== 'object' || left === null) {
        throw new TypeError(`it returned ${kindOf(left)} instead of { headers, body }`)
      }
      const { headers: leftHeaders = headers, body = response.body } = left as { headers?: unknown, body?: unknown }
      if (typeof body !== 'string' && !(body instanceof Uint8Array)) {
        throw new TypeError(`it returned a body of type ${typeof body} instead of a string or a Buffer`)
      }
      return {
        headers: [...headersOf(leftHeaders), ...removed],
        body: typeof body === 'string' ? body : Buffer.from(body)
      }
    },
    (err) => {
      run.log.error(
        { err: bareError(err) },
        `idempotency: the option "sanitize" of ${routeOf(run.request)} failed, the response is not kept`
      )
      return null
    })
}

/** Leaves out those that are `undefined`. A value that is no text must not be made text of. */
function headersOf (headers: unknown): Array<[name: string, value: string | string[]]> {
  if (typeof headers !== 'object' || headers === null) {
    throw new TypeError(`it returned headers of type ${kindOf(headers)} instead of an object`)
  }
  const given: Array<[string, unknown]> = Object.entries(headers).filter(([, value]) => value !== undefined)
  return given.map(([name, value]) =>
    [name.toLowerCase(), Array.isArray(value) ? value.map(line => textOf(name, line)) : textOf(name, value)])
}

function textOf (name: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw new TypeError(`it returned a header ${name} of type ${kindOf(value)} ` +
    'instead of a string or an array of strings')
}
