import type { FastifyRequest } from 'fastify'

/** Somebody who wants to know when a connection closes. */
export interface Watcher {
  connectionClosed (): void
}

/** On a socket or a stream: its watchers. A connection has one listener, however many requests it carries. */
const kWatchers = Symbol('fastify-idempotency.watchers')

interface Closable {
  readonly destroyed?: boolean
  once (event: 'close', listener: () => void): unknown
  [kWatchers]?: Set<Watcher>
}

/**
 * What closes when the client of a request leaves. Over HTTP/1 it is the socket: Node.js emits nothing on a response
 * that waits behind another one of its connection (pipelining). Over HTTP/2 it is the stream, since all requests share
 * the socket. Fastify's own hooks do not fire for requests with a body.
 */
function closableOf ({ raw }: FastifyRequest): Closable {
  const request = raw as unknown as { stream?: Closable, socket: Closable }
  // The socket comes last: over HTTP/2 each access makes a new proxy.
  return (raw.httpVersionMajor > 1 ? request.stream : undefined) ?? request.socket
}

/** Whether the client of a request that has no answer yet has left. Behind a proxy, the client is the proxy. */
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
