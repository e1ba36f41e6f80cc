import type { FastifyRequest } from 'fastify'
import { describeNonId, NOTHING, numberAsText } from '../core/ids.ts'
import type { RouteSettings } from '../options.ts'
import { keyInvalid, keyMalformed, keyMissing, keyRepeated } from '../refusals.ts'
import { parseKey } from '../shared/key-grammar.ts'
import { kindOf } from '../shared/values.ts'
import { andThen, readOption, refuseForOption, WrongValue } from './option-call.ts'

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
  const key = readOption(() => own(request), keyOf, error => refuseForOption('key', request, error))
  return andThen(key, key => accepted(key, request, settings))
}

/** The key in what the option `key` returns. */
function keyOf (value: unknown): Key {
  const key = numberAsText(value)
  if (key === undefined || typeof key === 'string') return key
  throw new WrongValue('a string, a number or undefined', describeNonId(value))
}

function accepted (key: Key, request: FastifyRequest, settings: RouteSettings): Key | Promise<Key> {
  const { key: own, header, required, validateKey } = settings
  const source = own === undefined ? header : null
  if (key === undefined) {
    if (!required) return undefined
    throw keyMissing(source)
  }
  // The option `key` returned a text such as 'undefined': the client sent no key.
  if (key === '' || !key.isWellFormed() || (own !== undefined && NOTHING.includes(key))) throw keyInvalid(source)
  let isValid: unknown
  try {
    isValid = validateKey(key)
  } catch (error) {
    refuseForOption('validateKey', request, error)
  }
  return isValid === true ? key : keyIfValid(isValid, key, request, source)
}

/** Apart from `accepted`, so that the usual answer costs no closures. */
function keyIfValid (
  isValid: unknown, key: string, request: FastifyRequest, source: string | null
): string | Promise<string> {
  return readOption(() => isValid, (isValid) => {
    if (typeof isValid !== 'boolean') throw new WrongValue('true or false', kindOf(isValid))
    if (!isValid) throw keyInvalid(source)
    return key
  }, error => refuseForOption('validateKey', request, error))
}

function readHeader (request: FastifyRequest, header: string): string | undefined {
  const value: unknown = request.headers[header]
  if (value === undefined) return undefined
  const line = isOneLine(value, header) ? value : theLine(request, header)
  // A schema of the headers may have made a number or a list of it.
  const key = parseKey(typeof value === 'string' ? value : line ?? '')
  if (key === undefined) throw keyMalformed(header)
  return key
}

/**
 * Whether one line shows without a look at all headers. Node.js joins repeated lines with a comma, which a key may
 * contain too. It joins some standard headers otherwise, or drops all lines but the first.
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
  // Name, value, name, value: HTTP/1, HTTP/2 and inject() all have it.
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length !== header.length || name.toLowerCase() !== header) continue
    line ??= rawHeaders[i + 1]
    lines++
  }
  if (lines > 1) throw keyRepeated(header, lines)
  return line
}
