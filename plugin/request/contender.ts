import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import type { Acquired, Client, Contender, Engine } from '../core/engine.ts'
import type { Identity } from '../core/same-request.ts'
import { IdempotencyError } from '../errors.ts'
import type { Subject } from '../observe/channels.ts'
import type { RouteSettings } from '../options.ts'
import { hasLeft, unwatch, watch } from './connection.ts'
import { addRefusalHeaders, problemOf } from './problem.ts'
import { proceed } from './proceed.ts'
import { ANSWERED, isAnswered, kIdempotency } from './state.ts'

/**
 * A request that wants a key. It is its own client and the subject of its events too, since an object for each of them
 * would cost every request something.
 */
export class RequestContender implements Contender, Client, Subject {
  readonly engine: Engine
  readonly settings: RouteSettings
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  key = ''
  scope = ''
  id = ''
  identity: Identity = NOBODY
  /** Lets Fastify go on: to the handler, or with an error. */
  readonly next: (error?: Error) => void

  constructor (
    engine: Engine, settings: RouteSettings, request: FastifyRequest, reply: FastifyReply, next: (error?: Error) => void
  ) {
    this.engine = engine
    this.settings = settings
    this.request = request
    this.reply = reply
    this.next = next
  }

  get subject (): this {
    return this
  }

  get client (): Client {
    return this
  }

  get log (): FastifyBaseLogger {
    return this.request.log
  }

  /** The request was answered (`handlerTimeout`) before it had its key. */
  get isAnswered (): boolean {
    return isAnswered(this.request, this.reply)
  }

  /** A client that was answered counts as gone. */
  get hasLeft (): boolean {
    return hasLeft(this.request) || this.isAnswered
  }

  onLeft (listener: () => void): () => void {
    const watcher = { connectionClosed: listener }
    watch(this.request, watcher)
    return () => { unwatch(this.request, watcher) }
  }

  acquired (acquired: Acquired | 'bypass'): void {
    let runs: boolean | Promise<boolean>
    try {
      runs = acquired === 'bypass' || proceed(this, this.reply, this.key, acquired)
    } catch (error) {
      return this.refused(error)
    }
    if (runs === true) this.next()
    else if (runs !== false) runs.then((runs) => { if (runs) this.next() }, (error: unknown) => { this.refused(error) })
  }

  refused (error: unknown): void {
    const { engine: { settings }, reply } = this
    if (this.request[kIdempotency] === ANSWERED) return
    if (!(error instanceof IdempotencyError)) return this.next(error as Error)
    addRefusalHeaders(reply, error, settings, this.settings)
    if (settings.errors === 'error-handler') return this.next(error)
    reply.send(problemOf(reply, error, settings))
  }
}

const NOBODY: Identity = { fingerprint: '' }
