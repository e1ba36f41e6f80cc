import { IdempotencyOptionError } from '../errors.ts'

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
export function keyOf (method: string, given: string | undefined, header: { name: string, value: string | null }): OperationKey | null {
  if (given !== undefined) {
    if (header.value !== null) throw new IdempotencyOptionError(`fastify-idempotency/client: give the key as "idempotencyKey" or in the header ${header.name}, not both`)
    if (!isKey(given)) throw new IdempotencyOptionError('fastify-idempotency/client: option "idempotencyKey" must be a string of one or more printable ASCII characters')
    return { key: given, value: quote(given) }
  }
  if (header.value !== null) {
    const key = parse(header.value)
    if (!isKey(key)) throw new IdempotencyOptionError(`fastify-idempotency/client: the request's header ${header.name} is malformed: write a quoted string as in RFC 9651, or the key without quotes`)
    // As the caller wrote it: not every server takes the quotes off.
    return { key, value: header.value }
  }
  if (SAFE.has(method.toUpperCase())) return null
  const key = makeKey()
  return { key, value: quote(key) }
}

/** What an RFC 9651 String can hold. */
function isKey (key: unknown): key is string {
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
