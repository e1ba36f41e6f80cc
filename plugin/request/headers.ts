import type { FastifyReply, FastifyRequest } from 'fastify'
import { SENT_AS_TEXT } from '../core/sent-as-text.ts'
import type { RouteSettings } from '../options.ts'
import type { KeptResponse } from '../store/store.ts'

export type Headers = ReturnType<FastifyReply['getHeaders']>

/** Headers that belong to one message, one connection or one client, and are never kept. */
const NEVER_KEPT = new Set([
  'set-cookie', 'date', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'trailer', 'te'
])

/**
 * The headers that are kept with a response: those that were set, changed or removed since the claim. Headers that
 * other plugins set before the claim (CORS, request ids, rate limits) are set by them again on each replay.
 * @param isText whether the body is sent as text
 */
export function headersToKeep (
  before: Headers, after: Headers, { excludeHeaders }: RouteSettings, isText: boolean
): KeptResponse['headers'] {
  const kept: KeptResponse['headers'] = []
  const named = connectionNames(after)
  for (const name in after) {
    const value = after[name]
    // The content type belongs to the body, whoever set it.
    if (value === undefined || (name !== 'content-type' && same(value, before[name]))) continue
    if (!isKept(name, named, excludeHeaders)) continue
    kept.push([name, Array.isArray(value) ? value.map(String) : String(value)])
  }
  for (const name in before) {
    if (after[name] === undefined && isKept(name, named, excludeHeaders)) kept.push([name, null])
  }
  if (isText) kept.push([SENT_AS_TEXT, null])
  return kept
}

function isKept (name: string, named: string[], excludeHeaders: ReadonlySet<string>): boolean {
  return !NEVER_KEPT.has(name) && !name.startsWith('proxy-') && !excludeHeaders.has(name) && !named.includes(name)
}

const NO_NAMES: string[] = []

function connectionNames ({ connection }: Headers): string[] {
  return connection === undefined ? NO_NAMES : String(connection).toLowerCase().split(',').map(name => name.trim())
}

function same (a: Headers[string], b: Headers[string]): boolean {
  if (a === b) return true
  return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, i) => value === b[i])
}

/** Headers that HTTP/2 does not allow, beside those that `connection` names. */
const HTTP1_ONLY = [
  'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'http2-settings'
]

/**
 * Over HTTP/2, removes headers that belong to a connection of HTTP/1, which a handler may have copied from an upstream.
 * Node.js refuses to send them, and would do so after the answer has been stored.
 */
export function dropHttp1Fields ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (raw.httpVersionMajor === 1) return
  for (const name of [...HTTP1_ONLY, ...connectionNames(reply.getHeaders())]) reply.removeHeader(name)
}

/** Adds kept headers to a reply, which may have headers of other plugins already. */
export function applyKept (reply: FastifyReply, kept: KeptResponse['headers']): void {
  for (const [name, value] of kept) {
    if (value === null) reply.removeHeader(name)
    // A copy: hooks may add to the list, and one record may be replayed several times.
    else reply.header(name, Array.isArray(value) ? [...value] : value)
  }
}

/** Undoes `applyKept`, except for headers that were changed since. The reply has its headers of `before` again. */
export function takeOffKept (reply: FastifyReply, kept: KeptResponse['headers'], before: Headers): void {
  for (const [name, value] of kept) {
    if (!same(reply.getHeader(name), value ?? undefined)) continue
    reply.removeHeader(name)
    if (before[name] !== undefined) reply.header(name, before[name])
  }
}

/** Makes a reply's headers these and no others. */
export function resetHeaders (reply: FastifyReply, headers: Headers): void {
  for (const name of Object.keys(reply.getHeaders())) {
    if (!(name in headers)) reply.removeHeader(name)
  }
  for (const [name, value] of Object.entries(headers)) {
    // Removed first: reply.header() adds to an existing set-cookie.
    reply.removeHeader(name)
    reply.header(name, value)
  }
}
