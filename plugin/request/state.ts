import type { KeptResponse } from '../store/store.ts'
import type { Headers } from './headers.ts'
import type { Run } from './run.ts'

/** The request's state between the hooks: a run that owns its key, or a replay on its way through `onSend`. */
export const kIdempotency = Symbol('fastify-idempotency.request')

/** A response that is being replayed. */
export class Replay {
  readonly statusCode: number
  readonly response: KeptResponse
  /** That of the response, as it is sent. */
  readonly body: string | Buffer | null
  /** The headers of the reply before those that are kept were put on it. */
  readonly headersBefore: Headers
  /** The kept body is in place, or an error's. What comes later passes as it is. */
  restored = false
  abandoned = false

  constructor (statusCode: number, response: KeptResponse, body: string | Buffer | null, headersBefore: Headers) {
    this.statusCode = statusCode
    this.response = response
    this.body = body
    this.headersBefore = headersBefore
  }
}

/** The request was answered (`handlerTimeout`) before it owned its key. */
export const ANSWERED = Symbol('answered')

declare module 'fastify' {
  interface FastifyRequest {
    [kIdempotency]: Run | Replay | typeof ANSWERED | null | undefined
  }
}
