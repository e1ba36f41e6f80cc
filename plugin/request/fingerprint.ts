import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { IdempotencyError } from '../errors.ts'
import type { RouteSettings } from '../options.ts'
import { sha256 } from './sha256.ts'

/** Deeper than any document that people exchange, and far from the end of the stack. */
const MAX_DEPTH = 256

/**
 * What is the same for a request and its retries: the SHA-256 of method, path with query, and body as the
 * route's validation left it. With the route's own `fingerprint`: of method, path, and what that returns.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE` if the body is something else than JSON, text or bytes.
 */
export function fingerprintOf (request: FastifyRequest, settings: RouteSettings): string {
  if (settings.fingerprint !== undefined) {
    const path = request.url.split('?', 1)[0] as string
    const own: unknown = settings.fingerprint(request)
    if (typeof own !== 'string' && !(own instanceof Uint8Array)) {
      throw new TypeError(`fastify-idempotency: the option "fingerprint" of ${request.method} ${path} must return a string or a Buffer, got ${own === null ? 'null' : typeof own}`)
    }
    return hashOf(`${request.method} ${path}\nown\n`, own)
  }
  const { body } = request
  const head = `${request.method} ${request.url}\n`
  if (body === undefined) {
    if (hasBody(request)) throw unreadable('it was not parsed into something that can be compared')
    return sha256(`${head}none\n`)
  }
  if (typeof body === 'string') return sha256(`${head}text\n${body}`)
  if (body instanceof Uint8Array) return hashOf(`${head}bytes\n`, body)
  if (/^multipart\//i.test(request.headers['content-type'] ?? '')) throw unreadable('it is multipart')
  return sha256(`${head}json\n${canonical(body)}`)
}

function hashOf (head: string, rest: string | Uint8Array): string {
  // In two steps, since bytes could only be joined by copying them.
  return typeof rest === 'string' ? sha256(head + rest) : createHash('sha256').update(head).update(rest).digest('base64url')
}

function hasBody ({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * A text that is the same for two JSON values if and only if they mean the same: members in the order of their names,
 * and each string with its length in front, so that nothing has to be escaped. Stricter than JSON.stringify: what that
 * would flatten (a Map to `{}`, NaN to `null`) would make different bodies look the same.
 */
export function canonical (value: unknown, depth = 0): string {
  if (value === null) return 'z'
  switch (typeof value) {
    case 'string':
      return canonicalString(value)
    case 'boolean':
      return value ? 't' : 'f'
    case 'number':
      if (Number.isFinite(value)) return `${value};`
      throw unreadable(`it contains ${value}`)
    case 'bigint':
      return `${value}n`
    case 'object':
      break
    default:
      throw unreadable(`it contains a ${typeof value}`)
  }
  if (depth === MAX_DEPTH) throw unreadable(`it is nested more than ${MAX_DEPTH} levels deep`)
  if (Array.isArray(value)) {
    let items = '['
    for (const item of value as unknown[]) items += canonical(item ?? null, depth + 1)
    return `${items}]`
  }
  if (value instanceof Uint8Array) return `<${Buffer.from(value).toString('base64')}>`
  if (value instanceof Date) return `@${value.getTime()};`
  if (!isPlain(value)) throw unreadable(`it contains a ${value.constructor?.name ?? 'special object'}`)
  let members = '{'
  for (const name of sortedKeys(value)) {
    const member = (value as Record<string, unknown>)[name]
    if (member !== undefined) members += canonicalString(name) + canonical(member, depth + 1)
  }
  return `${members}}`
}

function canonicalString (text: string): string {
  // Half of a surrogate pair is lost in UTF-8, which is what is hashed; JSON.stringify escapes it.
  return text.isWellFormed() ? `"${text.length}:${text}` : `'${JSON.stringify(text)}`
}

function sortedKeys (value: object): string[] {
  const keys = Object.keys(value)
  // Most clients send them in the same order every time; sorting is dear.
  for (let i = 1; i < keys.length; i++) {
    if ((keys[i - 1] as string) > (keys[i] as string)) return keys.sort()
  }
  return keys
}

/** An object literal, also one without a prototype or with an empty one, as parsers of forms and queries make them. */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function unreadable (why: string): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_BODY_UNREADABLE', `The body of this request cannot be compared with that of a retry: ${why}. A route that takes such bodies needs an idempotency option "fingerprint" of its own`)
}
