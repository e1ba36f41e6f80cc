import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouteSettings } from '../options.ts'
import type { KeptResponse } from '../store/store.ts'

export type Headers = ReturnType<FastifyReply['getHeaders']>

/** What belongs to one message or one connection, or to one client, and is never kept. */
const NEVER_KEPT = new Set([
  'set-cookie', 'date', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'trailer', 'te'
])

/**
 * Stands among the removed headers of a response whose body was text. Hooks that get the answer expect it in that form,
 * and Node.js writes headers in the encoding of the text that it writes them with, and beside bytes in Latin-1. No
 * header can have this name.
 */
const SENT_AS_TEXT = ':text'

/** Whether the first answer's body was text. Of a record of 0.1 it is not known. */
export function wasSentAsText (kept: KeptResponse['headers']): boolean {
  return kept.some(([name]) => name === SENT_AS_TEXT)
}

/**
 * The headers that are kept with a response: those that were set, changed or removed since the claim. What other
 * plugins set before it (CORS, request ids, rate limits) is made anew on each replay.
 * @param isText whether the body is sent as text
 */
export function headersToKeep (before: Headers, after: Headers, { excludeHeaders }: RouteSettings, isText: boolean): KeptResponse['headers'] {
  const kept: KeptResponse['headers'] = []
  const named = connectionNames(after)
  for (const name in after) {
    const value = after[name]
    // The content type goes with the body, whoever set it.
    if (value !== undefined && (name === 'content-type' || !same(value, before[name])) && isKept(name, named, excludeHeaders)) {
      kept.push([name, Array.isArray(value) ? value.map(String) : String(value)])
    }
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
  return a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, i) => value === b[i]))
}

/** What HTTP/2 has no place for, beside what `connection` names. */
const HTTP1_ONLY = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'http2-settings']

/**
 * Over HTTP/2, takes off what belongs to a connection of HTTP/1, as in headers that a handler copied from an upstream:
 * Node.js refuses to send it, once the answer has been stored.
 */
export function dropHttp1Fields ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (raw.httpVersionMajor === 1) return
  for (const name of [...HTTP1_ONLY, ...connectionNames(reply.getHeaders())]) reply.removeHeader(name)
}

/** Puts kept headers on a reply that has those of other plugins already. */
export function applyKept (reply: FastifyReply, kept: KeptResponse['headers']): void {
  for (const [name, value] of kept) {
    if (value === null) reply.removeHeader(name)
    // A copy: hooks may add to what they find, and several replays may be made of one record.
    else reply.header(name, Array.isArray(value) ? [...value] : value)
  }
}

/** Undoes `applyKept`, but for what was changed since: what the reply had `before` stands there again. */
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
    // Removed first: reply.header() adds to a set-cookie that is there.
    reply.removeHeader(name)
    reply.header(name, value)
  }
}
