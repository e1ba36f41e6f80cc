import { once } from 'node:events'
import { createServer as createTlsServer } from 'node:https'
import type { ServerOptions } from 'node:https'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { selfSigned } from './certificate.ts'

export interface TlsServer {
  url: string
  cert: string
  /** The number of connections that began, whether or not they succeeded. */
  connections: number
  /** The number of requests that arrived. */
  requests: number
}

/** A server with a certificate that nobody trusts. It cuts its first `cut` connections at once. */
export async function startUntrusted (t: Test, cut = 0, options: ServerOptions = {}): Promise<TlsServer> {
  const { cert, key } = selfSigned('127.0.0.1')
  const tls = createTlsServer({ cert, key, ...options }, (_request, response) => {
    seen.requests++
    response.end('done')
  })
  const server = createServer((socket) => {
    socket.on('error', () => {})
    if (seen.connections++ < cut) socket.destroy()
    else tls.emit('connection', socket)
  }).listen(0, '127.0.0.1')
  tls.on('tlsClientError', () => {})
  await once(server, 'listening')
  t.teardown(() => {
    tls.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const seen: TlsServer = { url: `https://127.0.0.1:${port}/x`, cert, connections: 0, requests: 0 }
  return seen
}
