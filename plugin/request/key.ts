import type { FastifyRequest } from 'fastify'
import { IdempotencyError } from '../errors.ts'
import type { RouteSettings } from '../options.ts'
import type { Scope } from '../types.ts'
import { kindOf } from './answers-of-options.ts'
import { sha256 } from './sha256.ts'

/**
 * The request's key, or `undefined` if it has none and may go without.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_KEY_MISSING`, `FST_IDEMPOTENCY_KEY_INVALID`
 */
export function readKey (request: FastifyRequest, settings: RouteSettings): string | undefined {
  const source = settings.key === undefined ? `header ${settings.header}` : 'key of this request'
  const key = settings.key === undefined ? readHeader(request, settings.header) : settings.key(request)
  if (key === undefined) {
    if (!settings.required) return undefined
    throw new IdempotencyError('FST_IDEMPOTENCY_KEY_MISSING', settings.key === undefined
      ? `This operation needs the ${source}: send a value that is unique to the operation, such as a UUID, and the same one with every retry`
      : 'This operation needs an idempotency key, and the request carries none where it is looked for')
  }
  if (typeof key !== 'string' || key === '' || settings.validateKey(key) !== true) {
    throw new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', `The ${source} is not a valid idempotency key: send 1 to 255 visible ASCII characters, such as a UUID, or what this service documents`)
  }
  return key
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
 * The scope that the request's key is looked up in.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_SCOPE_INVALID`
 */
export function readScope (request: FastifyRequest, scope: Scope): string {
  if (scope === 'global') return scope
  const value: unknown = scope(request)
  const text = textOf(value)
  if (text === null || text === 'global') {
    throw new IdempotencyError('FST_IDEMPOTENCY_SCOPE_INVALID', text === 'global'
      ? "The idempotency scope function of this route returned 'global', which names the space that all callers share: put a prefix before the ids it returns"
      : `The idempotency scope function of this route must return a string or a number that names the caller, got ${whatIs(value)}`)
  }
  return text
}

/**
 * The same for a scope that is given as it is.
 * @throws {TypeError}
 */
export function checkScope (scope: unknown): string {
  const text = textOf(scope)
  if (text === null) throw new TypeError(`fastify-idempotency: a scope must be a string of at least one character, or a number, got ${whatIs(scope)}`)
  return text
}

/** What becomes of a caller who is not known when it is made text of. */
const NOBODY: readonly unknown[] = ['', 'NaN', 'null', 'undefined']

function textOf (scope: unknown): string | null {
  // Beyond 2 ** 53 two ids are one number.
  const text = typeof scope === 'number' && (Number.isSafeInteger(scope) || !Number.isInteger(scope)) && Number.isFinite(scope) ? String(scope) : scope
  // Halves of a surrogate pair are all one to a hash.
  return typeof text !== 'string' || NOBODY.includes(text) || !text.isWellFormed() ? null : text
}

/** For the app's own log: of a text that names nobody. */
function whatIs (scope: unknown): string {
  if (typeof scope === 'number') return `the number ${scope}`
  if (typeof scope !== 'string' || scope === '') return kindOf(scope)
  return NOBODY.includes(scope) ? `the text '${scope}'` : 'text with half a surrogate pair'
}

/**
 * The name of a key's record: fixed length, nothing of the customer readable. The length in front keeps apart what
 * would join to the same text (scope `a`, key `bc` and scope `ab`, key `c`).
 */
export function recordId (scope: string, key: string): string {
  return sha256(`${scope.length}:${scope}:${key}`)
}
