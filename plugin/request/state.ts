import type { FastifyReply, FastifyRequest } from 'fastify'
import type { KeptResponse } from '../store/store.ts'
import type { Headers } from './headers.ts'
import type { Run } from './run.ts'

/** On a request: what the plugin knows of it between two hooks. */
export const kIdempotency = Symbol('fastify-idempotency.request')

/** A kept response on its way through `onSend`. */
export class Replay {
  readonly statusCode: number
  readonly response: KeptResponse
  /** The body of the response, in the form in which it is sent. */
  readonly body: string | Buffer | null
  /** The headers that the reply had before the kept ones were added. */
  readonly headersBefore: Headers
  /** The kept body, or the body of an error, is in place. What passes `onSend` after it is left as it is. */
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

/** Whether the request was answered already, so that its handler must not begin. */
export function isAnswered (request: FastifyRequest, reply: FastifyReply): boolean {
  return reply.sent || request[kIdempotency] === ANSWERED
}

declare module 'fastify' {
  interface FastifyRequest {
    [kIdempotency]: Run | Replay | typeof ANSWERED | null | undefined
  }
}
