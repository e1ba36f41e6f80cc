import type { KeptResponse } from '../store/store.ts'
import type { Run } from './run.ts'

/** The request's state between the hooks: a run that owns its key, or a replay on its way through `onSend`. */
export const kIdempotency = Symbol('fastify-idempotency.request')

/** A response that is being replayed. */
export class Replay {
  readonly response: KeptResponse
  restored = false

  constructor (response: KeptResponse) {
    this.response = response
  }
}

/** The request was answered (`handlerTimeout`) before it owned its key. */
export const ANSWERED = Symbol('answered')

declare module 'fastify' {
  interface FastifyRequest {
    [kIdempotency]: Run | Replay | typeof ANSWERED | null | undefined
  }
}
