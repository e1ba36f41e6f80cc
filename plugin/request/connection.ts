import type { FastifyRequest } from 'fastify'

/** Somebody who wants to know when a connection closes. */
export interface Watcher {
  connectionClosed (): void
}

/**
 * On a socket or a stream: who watches it. A connection has one listener, however many requests it carries. Most
 * connections carry one request at a time, which needs no Set.
 */
const kWatchers = Symbol('fastify-idempotency.watchers')

interface Closable {
  readonly destroyed?: boolean
  once (event: 'close', listener: () => void): unknown
  [kWatchers]?: Watcher | Set<Watcher> | null
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
  const watchers = closable[kWatchers]
  if (watchers === undefined) closable.once('close', () => { closed(closable) })
  if (watchers instanceof Set) watchers.add(watcher)
  else closable[kWatchers] = watchers == null ? watcher : new Set([watchers, watcher])
}

export function unwatch (request: FastifyRequest, watcher: Watcher): void {
  const closable = closableOf(request)
  const watchers = closable[kWatchers]
  if (watchers instanceof Set) watchers.delete(watcher)
  else if (watchers === watcher) closable[kWatchers] = null
}

function closed ({ [kWatchers]: watchers }: Closable): void {
  if (watchers instanceof Set) for (const each of watchers) each.connectionClosed()
  else watchers?.connectionClosed()
}
