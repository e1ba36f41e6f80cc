import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../core/engine.ts'
import { hasLeft, unwatch, watch } from './connection.ts'
import { ANSWERED, kIdempotency } from './state.ts'

/** The client of a request that wants a key. Once the request was answered (`handlerTimeout`), it counts as gone. */
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
