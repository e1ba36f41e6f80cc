import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../core/contender.ts'
import { ANSWERED, kIdempotency } from './state.ts'

/** Somebody who is told when a connection closes. */
export interface Watcher {
  connectionClosed (): void
}

/** On a socket or a stream: whom to tell when it closes. One listener a connection, however many requests it carries. */
const kWatchers = Symbol('fastify-idempotency.watchers')

interface Closable {
  readonly destroyed?: boolean
  once (event: 'close', listener: () => void): unknown
  [kWatchers]?: Set<Watcher>
}

/**
 * What closes when the client of a request leaves. Of HTTP/1 the socket: a response that waits behind another one of its
 * connection (pipelining) is not told by Node.js. Of HTTP/2 the stream, since the socket is that of all requests.
 * Fastify's own hooks say nothing of requests with a body.
 */
function closableOf ({ raw }: FastifyRequest): Closable {
  const request = raw as unknown as { stream?: Closable, socket: Closable }
  // Asked for last: of HTTP/2 it is a new proxy each time.
  return (raw.httpVersionMajor > 1 ? request.stream : undefined) ?? request.socket
}

/** Whether the client of a request that was not answered yet has left. Behind a proxy it is the proxy that does. */
export function hasLeft (request: FastifyRequest): boolean {
  return closableOf(request).destroyed === true
}

export function watch (request: FastifyRequest, watcher: Watcher): void {
  const closable = closableOf(request)
  let watchers = closable[kWatchers]
  if (watchers === undefined) {
    watchers = closable[kWatchers] = new Set()
    closable.once('close', () => {
      for (const each of closable[kWatchers] ?? []) each.connectionClosed()
    })
  }
  watchers.add(watcher)
}

export function unwatch (request: FastifyRequest, watcher: Watcher): void {
  closableOf(request)[kWatchers]?.delete(watcher)
}

/** The client of a request that wants a key. One that was answered (`handlerTimeout`) wants nothing any more. */
export class RequestClient implements Client {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply

  constructor (request: FastifyRequest, reply: FastifyReply) {
    this.#request = request
    this.#reply = reply
  }

  get hasLeft (): boolean {
    return hasLeft(this.#request) || this.#reply.sent || this.#request[kIdempotency] === ANSWERED
  }

  onLeft (listener: () => void): () => void {
    const watcher = { connectionClosed: listener }
    watch(this.#request, watcher)
    return () => { unwatch(this.#request, watcher) }
  }
}
