import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { until } from './helper.ts'

export interface RawAnswer {
  status: number
  replayed: boolean
  body: string
}

/** A keep-alive connection of HTTP/1.1, for clients that send any bytes at any time, and cut it. */
export class Connection {
  readonly #socket: Socket
  #received = ''

  private constructor (socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8').on('data', (text: string) => { this.#received += text })
    socket.on('error', () => {})
  }

  static async open (t: Test, url: string): Promise<Connection> {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return new Connection(socket)
  }

  /** Sends a POST without waiting for an answer: what is sent next is pipelined. */
  post (key: string, path = '/x'): void {
    this.#socket.write([
      `POST ${path} HTTP/1.1`, 'host: x', `idempotency-key: ${key}`,
      'content-type: application/json', 'content-length: 2', '', '{}'
    ].join('\r\n'))
  }

  /** The next answer, in the order of the requests. */
  async answer (): Promise<RawAnswer> {
    let answer: RawAnswer | null = null
    await until(() => {
      answer = this.#take()
      if (answer === null && this.#socket.destroyed) throw new Error('the server has closed the connection')
      return answer !== null
    }, 'an answer', 60_000)
    return answer as unknown as RawAnswer
  }

  cut (how: 'closed' | 'reset' = 'closed'): void {
    if (how === 'reset') this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }

  /** The first answer that has arrived completely. Its length is always given. */
  #take (): RawAnswer | null {
    const [head = ''] = this.#received.split('\r\n\r\n', 1)
    const [, length] = /^content-length: (\d+)$/im.exec(head) ?? []
    const end = head.length + 4 + Number(length)
    if (length === undefined || this.#received.length < end) return null
    const body = this.#received.slice(head.length + 4, end)
    this.#received = this.#received.slice(end)
    return { status: Number(head.split(' ', 2)[1]), replayed: /^idempotent-replayed: true$/im.test(head), body }
  }
}
