import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

/** A TCP proxy on the loopback interface. Its connections can be cut and stalled as a bad network would do. */
export class Proxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #state: 'open' | 'stalled' | 'cut' = 'open'

  private constructor (target: () => number) {
    this.#server = createServer({ noDelay: true }, socket => this.#join(socket, target()))
  }

  /** @param target the port that connections are passed on to; it is asked for each connection */
  static async listen (target: () => number): Promise<Proxy> {
    const proxy = new Proxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port (): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Break all connections, and refuse new ones. */
  cut (): void {
    this.#state = 'cut'
    for (const socket of this.#sockets) {
      // A socket that is about to end cannot be reset (on Node.js 20 the process would never exit).
      if (socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }

  /** Pass nothing on, in either direction. What is sent meanwhile arrives late. */
  stall (): void {
    this.#state = 'stalled'
    for (const socket of this.#sockets) socket.pause()
  }

  heal (): void {
    this.#state = 'open'
    for (const socket of this.#sockets) socket.resume()
  }

  async close (): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join (client: Socket, port: number): void {
    if (this.#state === 'cut') {
      client.resetAndDestroy()
      return
    }
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#pass(client, upstream)
    this.#pass(upstream, client)
  }

  #pass (from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on('data', (chunk) => {
      if (to.write(chunk)) return
      from.pause()
      to.once('drain', () => { if (this.#state === 'open') from.resume() })
    })
    // What was read before one side closed is still delivered to the other.
    from.on('end', () => to.end())
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      to.end()
    })
    if (this.#state === 'stalled') from.pause()
  }
}
