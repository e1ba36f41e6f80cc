import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { gate } from '../helper.ts'

/** A request as it arrived upstream. */
export interface Received {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: Buffer
}

export interface Upstream {
  url: string
  /** The requests that arrived with an idempotency key. */
  received: (key: string) => Received[]
  /** Lets the server answer the request with this key, whose path is /held. */
  letGo: (key: string) => void
}

/** The service behind a gateway: a server of its own, which has no Fastify and no idempotency. */
export async function startUpstream (t: Test): Promise<Upstream> {
  const all: Received[] = []
  const received = (key: string): Received[] => all.filter(({ headers }) => headers['idempotency-key'] === key)
  const gates = new Map<string, ReturnType<typeof gate<void>>>()
  const gateOf = (key: string): ReturnType<typeof gate<void>> => {
    const own = gates.get(key) ?? gate()
    gates.set(key, own)
    return own
  }
  const server = createServer((request, response) => { void serve(request, response) })
  async function serve (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request
    all.push({ method, url, headers, body: await buffer(request) })
    const key = String(headers['idempotency-key'])
    await answer(url.slice(url.lastIndexOf('/')), received(key).length, gateOf(key).opened, headers, response)
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    letGo: key => gateOf(key).open()
  }
}

/** @param call the number of the request among those with its idempotency key */
async function answer (
  path: string,
  call: number,
  released: Promise<void>,
  headers: IncomingHttpHeaders,
  response: ServerResponse
): Promise<void> {
  response.setHeader('x-upstream', 'yes')
  switch (path) {
    case '/streamed':
      for (let chunk = 0; chunk < 20; chunk++) {
        response.write(`call ${call}, chunk ${chunk}\n`)
        await setImmediate()
      }
      response.end()
      break
    case '/broken-off':
      if (call === 1) response.write('the first half', () => response.destroy())
      else response.end('both halves')
      break
    case '/held':
      await released
      response.end(`call ${call}`)
      break
    case '/failing':
      response.writeHead(call === 1 ? 502 : 200).end(`call ${call}`)
      break
    case '/declined':
      response.writeHead(402, { 'content-type': 'application/json' }).end(`{"call":${call}}`)
      break
    case '/compressed':
      if (String(headers['accept-encoding']).includes('gzip')) {
        response.setHeader('content-encoding', 'gzip').end(gzipSync(`call ${call}`))
      } else {
        response.end(`call ${call}`)
      }
      break
    default:
      response
        .writeHead(201, { 'content-type': 'application/json', 'set-cookie': 'upstream=1' })
        .end(`{"call":  ${call}}`)
  }
}
