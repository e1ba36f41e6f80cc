import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { listen } from '../processes/listen.ts'

/** A complete POST that has passed through. */
export interface Passed {
  /** Cut its connections, to the client and to the server, as a network would. */
  cut (how?: 'closed' | 'reset'): void
}

export interface Dropper {
  url: string
  /** The POSTs in the order in which they came. */
  posts: Passed[]
  /** Waits until this many POSTs have passed. */
  passed (count: number): Promise<void>
  /** Cut all connections, of any protocol. */
  cutAll (): void
}

type MayPass = (before: number) => Promise<void>

/**
 * A TCP proxy that the test tells which connections to cut. Of HTTP/1.1 it sees the POSTs: the first one goes to the
 * first of the addresses, the second one to the second, and so on; all the rest goes to the first.
 * @param mayPass what a POST waits for before it passes, by how many have passed before it; of other protocols what a
 *   connection begins with
 */
export async function startDropper (t: Test, addresses: string[], mayPass: MayPass = async () => {}): Promise<Dropper> {
  const ports = addresses.map(address => Number(new URL(address).port))
  const posts: Passed[] = []
  const open = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    open.add(socket)
    return socket.on('error', () => {}).once('close', () => open.delete(socket))
  }
  const server = createServer({ noDelay: true }, (client) => {
    keep(client)
    const upstreams = new Map<number, Socket>()
    const upstreamAt = (index: number): Socket => {
      const port = ports[index % ports.length] as number
      const known = upstreams.get(port)
      if (known !== undefined) return known
      const upstream = keep(connect({ port, host: '127.0.0.1', noDelay: true }))
      upstreams.set(port, upstream)
      return upstream.on('data', data => client.write(data)).once('close', () => client.destroy())
    }
    const cut = (how: 'closed' | 'reset' = 'closed'): void => {
      for (const socket of [client, ...upstreams.values()]) {
        if (how === 'reset') socket.resetAndDestroy()
        else socket.destroy()
      }
    }
    let upstream = upstreamAt(0)
    let isFirst = true
    const pass = async (data: Buffer): Promise<void> => {
      const [, method] = /^([A-Z]+) \S+ HTTP\/1\.1\r\n/.exec(data.toString('latin1')) ?? []
      if (method === 'POST') {
        await mayPass(posts.length)
        upstream = upstreamAt(posts.length)
        posts.push({ cut })
      } else if (method !== undefined) {
        upstream = upstreamAt(0)
      } else if (isFirst) {
        await mayPass(posts.length)
      }
      isFirst = false
      upstream.write(data)
    }
    client.on('data', (data: Buffer) => {
      client.pause()
      pass(data).then(() => client.resume(), () => cut())
    }).once('close', () => cut())
  })
  const url = await listen(t, server)
  t.teardown(() => { for (const socket of open) socket.destroy() })
  return {
    url,
    posts,
    cutAll: () => { for (const socket of open) socket.destroy() },
    passed: count => until(() => posts.length >= count, `POST number ${count}`, 60_000)
  }
}
