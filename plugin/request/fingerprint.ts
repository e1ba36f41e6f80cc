import { createHash } from 'node:crypto'
import type { FastifyRequest, RouteOptions } from 'fastify'
import type { RouteSettings } from '../options.ts'
import { andThen, isThenable, kindOf, WrongAnswer } from './answers-of-options.ts'
import { canonicalJson, unreadable } from '../core/canonical-json.ts'
import { sha256 } from '../core/sha256.ts'

/**
 * What a request and its retries have in common: SHA-256 over method, path with query, media type, what tells the route
 * from others of the same path, and the body as it stands. With the route's own `fingerprint`, what that returns stands
 * for query and body. `early`: an own one that is empty has nothing to say yet, which is thrown.
 * A promise only if that returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE` if the body is something else than JSON, text or bytes.
 */
export type Fingerprinter = (request: FastifyRequest, early: boolean) => string | Promise<string>

/** Once a route. */
export function fingerprinterOf (route: RouteOptions, { fingerprint: own }: RouteSettings): Fingerprinter {
  const { version, ...others } = route.constraints ?? {}
  const constraints = textOf(others)
  const routeOf = version === undefined
    ? () => constraints
    // As it was asked for: what `1.x` leads to is another route after the deployment of a 1.3.0.
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

/** Not the pattern of its path: the path counts as it is, and a parameter may be given another name. */
function textOf (constraints: Record<string, unknown>): string {
  const set = Object.entries(constraints)
  if (set.length === 0) return ''
  // Of an expression, as a host may be, JSON would say nothing.
  const shown = (_name: string, value: unknown): unknown => value instanceof RegExp ? String(value) : value
  return JSON.stringify(set.sort(([a], [b]) => a < b ? -1 : 1), shown)
}

/**
 * Without parameters: a charset is none of the request's meaning, a form's boundary is another one each time. Of the
 * last one it is known, since a route is mostly sent the same.
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
    if (hasBody(request)) throw unreadable('it was not parsed into something that can be compared')
    return sha256(`${head}none\n`)
  }
  if (typeof body === 'string') return hashOf(`${head}text\n`, body)
  if (body instanceof Uint8Array) return hashOf(`${head}bytes\n`, body)
  if (mediaType.startsWith('multipart/')) throw unreadable('it is multipart')
  return sha256(`${head}json\n${canonicalJson(body)}`)
}

type Own = NonNullable<RouteSettings['fingerprint']>
type Value = string | Uint8Array

/**
 * What own functions have promised: a store compares at once, so for a record of the other format they cannot be asked
 * again.
 */
const kept = new WeakMap<FastifyRequest, Value>()

/** What the route's own `fingerprint` returns. A promise only if that returns one. */
export function valueOf (own: Own, request: FastifyRequest, early: boolean): Value | Promise<Value> {
  const known = kept.get(request)
  if (known !== undefined) return known
  const answer: unknown = own(request)
  if (!isThenable(answer)) return checked(answer, early)
  return Promise.resolve(answer).then((answer) => {
    const value = checked(answer, early)
    kept.set(request, value)
    return value
  })
}

function checked (value: unknown, early: boolean): Value {
  if (early && value === '') throw new Error('nothing yet')
  if (typeof value === 'string' || value instanceof Uint8Array) return value
  throw new WrongAnswer('a string or a Buffer', kindOf(value))
}

export function hashOf (head: string, rest: Value): string {
  if (typeof rest === 'string') {
    // Half of a surrogate pair is lost in UTF-8, which is what is hashed. No other head begins with a line feed.
    return rest.isWellFormed() ? sha256(head + rest) : sha256(`\n${head}${JSON.stringify(rest)}`)
  }
  // In two steps, since bytes could only be joined by copying them.
  return createHash('sha256').update(head).update(rest).digest('base64url')
}

export function pathOf ({ url }: FastifyRequest): string {
  return url.split('?', 1)[0] as string
}

export function hasBody ({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
