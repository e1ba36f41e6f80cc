import type { FastifyReply, FastifyRequest } from 'fastify'
import { releaseOrSettle } from './end.ts'
import { abandon } from './replay.ts'
import { Run } from './run.ts'
import { ANSWERED, kIdempotency, Replay } from './state.ts'

/** The route's last onError hook: Fastify answers with an error, whatever the state of the request was. */
export function noteError (request: FastifyRequest, reply: FastifyReply, error: Error & { code?: string }): void {
  const state = request[kIdempotency]
  if (state instanceof Run && state.journalled !== null) state.journalled.answered = false
  if (state instanceof Replay) abandon(state, reply)
  if (error.code === 'FST_ERR_HANDLER_TIMEOUT') {
    if (state instanceof Run) state.outcomeUnknown = true
    else request[kIdempotency] = ANSWERED
    return
  }
  if (!(state instanceof Run)) return
  // A second error: an onSend hook failed on the answer of the first one. Fastify sends the second past the other
  // hooks.
  if (state.failed) void releaseOrSettle(state)
  state.failed = true
}
