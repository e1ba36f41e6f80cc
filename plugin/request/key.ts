import type { FastifyRequest } from 'fastify'
import { IdempotencyError } from '../errors.ts'
import type { RouteSettings } from '../options.ts'
import type { Scope } from '../types.ts'
import { andThen, kindOf, later, refuseFor, WrongAnswer } from './answers-of-options.ts'
import { sha256 } from '../core/sha256.ts'

/** `undefined`: the request has none. */
type Key = string | undefined

/**
 * The request's key, or `undefined` if it has none and may go without. A promise only if an option returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_MISSING`, `FST_IDEMPOTENCY_KEY_INVALID`,
 *   `FST_IDEMPOTENCY_OPTION_FAILED`, or what the options `key` and `validateKey` throw
 */
export function readKey (request: FastifyRequest, settings: RouteSettings): Key | Promise<Key> {
  const { key: own, header } = settings
  if (own === undefined) return accepted(readHeader(request, header), request, settings)
  const key = later(() => own(request), keyOf, error => refuseFor('key', request, error))
  return andThen(key, key => accepted(key, request, settings))
}

/** What the option `key` answers. */
function keyOf (answer: unknown): Key {
  const key = numberAsText(answer)
  if (key === undefined || typeof key === 'string') return key
  throw new WrongAnswer('a string, a number or undefined', whatIs(answer))
}

function accepted (key: Key, request: FastifyRequest, settings: RouteSettings): Key | Promise<Key> {
  const { key: own, header, required, validateKey } = settings
  if (key === undefined) {
    if (!required) return undefined
    throw new IdempotencyError('FST_IDEMPOTENCY_KEY_MISSING', own === undefined
      ? `This operation needs the header ${header}: send a value that is unique to the operation, such as a UUID, and the same one with every retry`
      : 'This operation needs an idempotency key, and the request carries none where it is looked for')
  }
  // Text that an own function made of nothing says that the client has sent nothing.
  if (key === '' || !key.isWellFormed() || (own !== undefined && NOTHING.includes(key))) throw invalidKey(settings)
  return later(() => validateKey(key), (answer) => {
    if (typeof answer !== 'boolean') throw new WrongAnswer('true or false', kindOf(answer))
    if (!answer) throw invalidKey(settings)
    return key
  }, error => refuseFor('validateKey', request, error))
}

function invalidKey ({ key, header }: RouteSettings): IdempotencyError {
  const source = key === undefined ? `header ${header}` : 'key of this request'
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', `The ${source} is not a valid idempotency key: send 1 to 255 visible ASCII characters, such as a UUID, or what this service documents`)
}

function readHeader (request: FastifyRequest, header: string): string | undefined {
  const value: unknown = request.headers[header]
  if (value === undefined) return undefined
  const line = isOneLine(value, header) ? value : theLine(request, header)
  // A schema of the headers may have made a number or a list of it.
  const key = parseKey(typeof value === 'string' ? value : line ?? '')
  if (key === undefined) {
    throw new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', `The header ${header} is malformed: send a quoted string as in RFC 9651, ${header}: "8e03978e-40d5-43e8-bc93-6894a57f9324", or the same without quotes`)
  }
  return key
}

/**
 * Whether it can be told without a look at all headers. Node.js joins repeated lines with a comma, which a key may
 * contain too; those of some standard headers otherwise, or it drops all but the first.
 */
function isOneLine (value: unknown, header: string): value is string {
  return header === 'idempotency-key' && typeof value === 'string' && !value.includes(',')
}

/**
 * The header as it was sent; `undefined` if a hook made it.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_INVALID` if it was sent more than once
 */
function theLine ({ raw: { rawHeaders } }: FastifyRequest, header: string): string | undefined {
  let line: string | undefined
  let lines = 0
  // Name, value, name, value: what HTTP/1, HTTP/2 and inject() have in common.
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length !== header.length || name.toLowerCase() !== header) continue
    line ??= rawHeaders[i + 1]
    lines++
  }
  if (lines > 1) {
    const detail = `The header ${header} was sent ${lines} times: send it once`
    throw new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', detail)
  }
  return line
}

/**
 * The key in a header's value: an RFC 9651 String, parameters ignored, or a bare token, which means the same key.
 * `undefined` if it is neither.
 */
export function parseKey (value: string): string | undefined {
  if (!value.includes('"')) return value
  const string = /^ *"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)" *(?:;.*)?$/.exec(value)
  return string?.[1]?.replace(/\\(.)/g, '$1')
}

/**
 * The scope that the request's key is looked up in. A promise only if the function returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_SCOPE_INVALID`, `FST_IDEMPOTENCY_OPTION_FAILED`, or what the function
 *   throws
 */
export function readScope (request: FastifyRequest, scope: Scope): string | Promise<string> {
  if (scope === 'global') return scope
  return later(() => scope(request), scopeOf, error => refuseFor('scope', request, error))
}

const IDENTIFY = 'identify the caller in a hook that runs before it, such as onRequest, and refuse who is unknown there'

function scopeOf (answer: unknown): string {
  const text = textOf(answer)
  if (text === null || NOTHING.includes(text)) {
    throw new WrongAnswer('a string or a number that names the caller', whatIs(answer), 'FST_IDEMPOTENCY_SCOPE_INVALID', IDENTIFY)
  }
  if (text === 'global') {
    const got = "'global', which names the space that all callers share"
    throw new WrongAnswer('ids with a prefix before them', got, 'FST_IDEMPOTENCY_SCOPE_INVALID')
  }
  return text
}

/**
 * A scope or a key that is given as it is.
 * @throws {TypeError} if it names nothing
 */
export function checkId (what: 'scope' | 'key', id: unknown): string {
  const text = textOf(id)
  if (text !== null && !NOTHING.includes(text)) return text
  const expected = 'a string of at least one character, or a number'
  throw new TypeError(`fastify-idempotency: a ${what} must be ${expected}, got ${whatIs(id)}`)
}

/**
 * The same to look for: a client may have sent the text of nothing.
 * @throws {TypeError}
 */
export function checkText (what: 'scope' | 'key', id: unknown): string {
  const text = textOf(id)
  if (text !== null) return text
  throw new TypeError(`fastify-idempotency: a ${what} must be a string or a number, got ${whatIs(id)}`)
}

/** What becomes of an id that is not there when it is made text of. */
const NOTHING: readonly string[] = ['', 'NaN', 'null', 'undefined']

/** An id as text; `null` if it is none, or would be one with others. */
function textOf (id: unknown): string | null {
  const text = numberAsText(id)
  // Halves of a surrogate pair are all one to a hash.
  return typeof text === 'string' && text.isWellFormed() ? text : null
}

/** A number that is an id, as text; all else as it is. Beyond 2 ** 53 two ids are one number. */
function numberAsText (id: unknown): unknown {
  if (typeof id !== 'number') return id
  return Number.isSafeInteger(id) || (Number.isFinite(id) && !Number.isInteger(id)) ? String(id) : id
}

/** For a message: of what is no id, and without any. */
function whatIs (id: unknown): string {
  if (typeof id === 'number') return Number.isInteger(id) ? 'a number beyond 2^53' : `the number ${id}`
  if (typeof id !== 'string' || id === '') return kindOf(id)
  return NOTHING.includes(id) ? `the text '${id}'` : 'text with half a surrogate pair'
}

/**
 * The name of a key's record: fixed length, nothing of the customer readable. The length in front keeps apart what
 * would join to the same text (scope `a`, key `bc` and scope `ab`, key `c`).
 */
export function recordId (scope: string, key: string): string {
  return sha256(`${scope.length}:${scope}:${key}`)
}
