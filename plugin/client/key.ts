import { isPrintable, parseKey, writeKey } from '../shared/key-grammar.ts'
import { IdempotencyOptionError } from '../shared/option-error.ts'
import type { RetrySettings } from './options.ts'

/** Methods that change nothing: the client sends them again without a key. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY'])

/** What identifies an operation in all its tries: the key, and the header value that carries it. */
export interface OperationKey {
  key: string
  value: string
}

/**
 * Makes a new idempotency key. Call it and store the key before the first try if the operation must outlive this
 * process.
 * @throws {Error} where the platform cannot make one
 */
export function makeKey (): string {
  const { crypto } = globalThis as { crypto?: { randomUUID?: () => string } }
  if (crypto?.randomUUID === undefined) {
    throw new Error('fastify-idempotency/client: there is no crypto.randomUUID here to make a key with (browsers ' +
      'have it only on pages served by https: or from localhost). Give the request a key of your own')
  }
  return crypto.randomUUID()
}

/**
 * The key of an operation: the given key, or else the one in the request's header, or else a new one. A request with a
 * safe method gets no new one.
 * @throws {IdempotencyOptionError} if the given key, or the header, is not a key
 */
export function keyOf (
  method: string,
  given: string | undefined,
  value: string | null,
  { header, validateKey }: RetrySettings
): OperationKey | null {
  if (given !== undefined) {
    if (value !== null) throw keyError(`give the key as "idempotencyKey" or in the header ${header}, not both`)
    checkKey(given, 'option "idempotencyKey"', validateKey)
    return { key: given, value: writeKey(given) }
  }
  if (value !== null) {
    const key = parseKey(value)
    if (!isPrintable(key)) {
      throw keyError(`the request's header ${header} is malformed: write a quoted string as in RFC 9651, ` +
        'or the key without quotes')
    }
    checkKey(key, `the key in the request's header ${header}`, validateKey)
    // The value stays as the caller wrote it, since not every server removes the quotes.
    return { key, value }
  }
  if (SAFE.has(method.toUpperCase())) return null
  const key = makeKey()
  return { key, value: writeKey(key) }
}

/** Refuses a key before the caller keeps it for an operation: a server that does not take it would never run that. */
function checkKey (key: unknown, what: string, validateKey: RetrySettings['validateKey']): void {
  if (!isPrintable(key)) throw keyError(`${what} must be a string of one or more printable ASCII characters`)
  const answer: unknown = validateKey(key)
  if (answer === true) return
  if (answer !== false) {
    const got = answer instanceof Promise ? 'a promise' : typeof answer
    throw keyError(`option "validateKey" must return true or false at once, got ${got}`)
  }
  throw keyError(`${what} is not one that the server takes: by default 1 to 255 visible ASCII characters, no space ` +
    `(this one has ${key.length} characters). For a server that takes others, say with the option "validateKey" which`)
}

function keyError (message: string): IdempotencyOptionError {
  return new IdempotencyOptionError(`fastify-idempotency/client: ${message}`)
}
