import { IdempotencyOptionError } from '../errors.ts'
import type { RetrySettings } from './options.ts'

/** Methods that change nothing: they may be sent again without a key. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY'])

/** What a request is known by over all its tries, and the header's value that says so. */
export interface OperationKey {
  key: string
  value: string
}

/**
 * A new idempotency key. Make it yourself and keep it before the first try if the operation must outlive this process.
 * @throws {Error} where the platform cannot make one
 */
export function makeKey (): string {
  const { crypto } = globalThis as { crypto?: { randomUUID?: () => string } }
  if (crypto?.randomUUID === undefined) {
    throw new Error('fastify-idempotency/client: there is no crypto.randomUUID here to make a key with (browsers have it only on pages served by https: or from localhost). Give the request a key of your own')
  }
  return crypto.randomUUID()
}

/**
 * The key of an operation: the one given, or what the request's own header says, or a new one unless the method is safe.
 * @throws {IdempotencyOptionError} if the given key, or the header, is not a key
 */
export function keyOf (method: string, given: string | undefined, value: string | null, { header, validateKey }: RetrySettings): OperationKey | null {
  if (given !== undefined) {
    if (value !== null) throw new IdempotencyOptionError(`fastify-idempotency/client: give the key as "idempotencyKey" or in the header ${header}, not both`)
    checkKey(given, 'option "idempotencyKey"', validateKey)
    return { key: given, value: quote(given) }
  }
  if (value !== null) {
    const key = parse(value)
    if (!isPrintable(key)) throw new IdempotencyOptionError(`fastify-idempotency/client: the request's header ${header} is malformed: write a quoted string as in RFC 9651, or the key without quotes`)
    checkKey(key, `the key in the request's header ${header}`, validateKey)
    // As the caller wrote it: not every server takes the quotes off.
    return { key, value }
  }
  if (SAFE.has(method.toUpperCase())) return null
  const key = makeKey()
  return { key, value: quote(key) }
}

/** Refused here, a key is refused before it is kept for an operation that no server would do under it. */
function checkKey (key: unknown, what: string, validateKey: RetrySettings['validateKey']): void {
  if (!isPrintable(key)) throw new IdempotencyOptionError(`fastify-idempotency/client: ${what} must be a string of one or more printable ASCII characters`)
  const answer: unknown = validateKey(key)
  if (answer === true) return
  if (answer !== false) {
    throw new IdempotencyOptionError(`fastify-idempotency/client: option "validateKey" must return true or false at once, got ${answer instanceof Promise ? 'a promise' : typeof answer}`)
  }
  throw new IdempotencyOptionError(`fastify-idempotency/client: ${what} is not one that the server takes: by default 1 ` +
    `to 255 visible ASCII characters, no space (this one has ${key.length} characters). For a server that takes ` +
    'others, say with the option "validateKey" which')
}

/** What an RFC 9651 String can hold. */
function isPrintable (key: unknown): key is string {
  return typeof key === 'string' && /^[\x20-\x7e]+$/.test(key)
}

function quote (key: string): string {
  return `"${key.replace(/["\\]/g, '\\$&')}"`
}

function parse (value: string): string | undefined {
  if (!value.includes('"')) return value
  const string = /^ *"((?:[^"\\]|\\["\\])*)" *(?:;.*)?$/.exec(value)
  return string?.[1]?.replace(/\\(.)/g, '$1')
}
