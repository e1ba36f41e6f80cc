import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'

/**
 * What happens to a request: the connection is cut before the request reaches the server, when its answer is there, or
 * in the middle of the answer; or the answer is lost between proxy and server, and the client gets a page that says so.
 */
export type Fate = 'passes' | 'request lost' | 'answer lost' | 'answer cut' | 'error page'

const PAGE = '<?xml version="1.0" encoding="iso-8859-1"?>\n' +
  '<html><body><h1>500 Internal Server Error</h1></body></html>\n'
/** The error page of lighttpd 1.4.69, shortened. */
const ERROR_PAGE = 'HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\n' +
  `Content-Length: ${PAGE.length}\r\nConnection: close\r\n\r\n${PAGE}`

export interface DroppingProxy {
  url: string
  /** How many requests met which fate. */
  met: Record<Fate, number>
}

/** A TCP proxy that cuts connections as `fateOf` decides. It is called once for each request. */
export async function startProxy (t: Test, target: string, fateOf: () => Fate): Promise<DroppingProxy> {
  const { hostname, port } = new URL(target)
  const met: DroppingProxy['met'] = { passes: 0, 'request lost': 0, 'answer lost': 0, 'answer cut': 0, 'error page': 0 }
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
  }
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    keep(client)
    keep(upstream)
    // The parts of a request come one after the other without an answer between them: all of them have one fate.
    let fate: Fate | null = null
    client.on('data', (data) => {
      if (fate === null) met[fate = fateOf()]++
      if (fate === 'request lost') client.destroy()
      else upstream.write(data)
    })
    upstream.on('data', (data) => {
      if (fate === 'passes') client.write(data)
      else if (fate === 'error page') client.end(ERROR_PAGE)
      else if (fate === 'answer cut') client.end(data.subarray(0, -10))
      else client.destroy()
      fate = null
    })
    client.once('close', () => upstream.destroy())
    upstream.once('close', () => client.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, met }
}
