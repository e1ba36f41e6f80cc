import { createHash } from 'node:crypto'
import type { FastifyRequest, RouteOptions } from 'fastify'
import { canonicalJson } from '../core/canonical-json.ts'
import { sha256 } from '../core/sha256.ts'
import type { RouteSettings } from '../options.ts'
import { bodyUnreadable } from '../refusals.ts'
import { isThenable, kindOf } from '../shared/values.ts'
import { andThen, WrongValue } from './option-call.ts'

/**
 * What a request and its retries have in common: SHA-256 over method, path with query, media type, the constraints that
 * tell the route from others of the same path, and the body as it is. If the route has its own `fingerprint`, the value
 * that this returns replaces query and body. `early`: throws if that value is empty, since the function may need what a
 * later hook prepares. A promise only if the function returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE` if the body is something else than JSON, text or bytes.
 */
export type Fingerprinter = (request: FastifyRequest, early: boolean) => string | Promise<string>

/** Called once for each route. */
export function fingerprinterOf (route: RouteOptions, { fingerprint: own }: RouteSettings): Fingerprinter {
  const { version, ...others } = route.constraints ?? {}
  const constraints = textOf(others)
  const routeOf = version === undefined
    ? () => constraints
    // The version that was asked for: after the deployment of a 1.3.0, `1.x` leads to another route.
    : ({ headers }: FastifyRequest) => JSON.stringify(headers['accept-version'] ?? version) + constraints
  const mediaTypeOf = mediaTypes()
  return (request, early) => {
    const mediaType = mediaTypeOf(request)
    const after = `\n${mediaType}\n${routeOf(request)}\n`
    if (own === undefined) return hashOfBody(`${request.method} ${request.url}${after}`, mediaType, request)
    const head = `${request.method} ${pathOf(request)}${after}own\n`
    return andThen(valueOf(own, request, early), value => hashOf(head, value))
  }
}

/**
 * Constraints as text. The pattern of the path does not count: the path itself does, and a parameter may be renamed.
 */
function textOf (constraints: Record<string, unknown>): string {
  const set = Object.entries(constraints)
  if (set.length === 0) return ''
  // A host may be a regular expression, of which JSON shows nothing.
  const shown = (_name: string, value: unknown): unknown => value instanceof RegExp ? String(value) : value
  return JSON.stringify(set.sort(([a], [b]) => a < b ? -1 : 1), shown)
}

/**
 * Reads media types without their parameters: a charset does not change what a request means, and a form has another
 * boundary each time. Remembers the last one, since most requests of a route have the same.
 */
function mediaTypes (): (request: FastifyRequest) => string {
  let last = ''
  let mediaType = ''
  return ({ headers: { 'content-type': type = '' } }) => {
    if (type !== last) {
      last = type
      mediaType = (type.split(';', 1)[0] as string).trim().toLowerCase()
    }
    return mediaType
  }
}

function hashOfBody (head: string, mediaType: string, request: FastifyRequest): string {
  const { body } = request
  if (body === undefined) {
    if (hasBody(request)) throw bodyUnreadable('it was not parsed into something that can be compared')
    return sha256(`${head}none\n`)
  }
  if (typeof body === 'string') return hashOf(`${head}text\n`, body)
  if (body instanceof Uint8Array) return hashOf(`${head}bytes\n`, body)
  if (mediaType.startsWith('multipart/')) throw bodyUnreadable('it is multipart')
  return sha256(`${head}json\n${canonicalJson(body)}`)
}

type Own = NonNullable<RouteSettings['fingerprint']>
type Value = string | Uint8Array

/**
 * The values that own functions returned as promises. To compare a request with a record of the other format they
 * cannot be called again, since a store compares at once.
 */
const kept = new WeakMap<FastifyRequest, Value>()

/** What the route's own `fingerprint` returns. A promise only if the function returns one. */
export function valueOf (own: Own, request: FastifyRequest, early: boolean): Value | Promise<Value> {
  const known = kept.get(request)
  if (known !== undefined) return known
  const returned: unknown = own(request)
  if (!isThenable(returned)) return checked(returned, early)
  return Promise.resolve(returned).then((fulfilled) => {
    const value = checked(fulfilled, early)
    kept.set(request, value)
    return value
  })
}

function checked (value: unknown, early: boolean): Value {
  if (early && value === '') throw new Error('nothing yet')
  if (typeof value === 'string' || value instanceof Uint8Array) return value
  throw new WrongValue('a string or a Buffer', kindOf(value))
}

export function hashOf (head: string, rest: Value): string {
  if (typeof rest === 'string') {
    // Half of a surrogate pair is lost in UTF-8, which is what is hashed. No other hashed text begins with a line feed.
    return rest.isWellFormed() ? sha256(head + rest) : sha256(`\n${head}${JSON.stringify(rest)}`)
  }
  // In two steps, since joining bytes would copy them.
  return createHash('sha256').update(head).update(rest).digest('base64url')
}

export function pathOf ({ url }: FastifyRequest): string {
  return url.split('?', 1)[0] as string
}

export function hasBody ({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
