import type { FastifyReply, FastifyRequest } from 'fastify'
import { isJournalled } from './decide.ts'
import { Run } from './run.ts'
import { kIdempotency } from './state.ts'

/**
 * The route's first preSerialization hook: notes whether the handler answers with what it wrote to the journal. Once it
 * is serialized, that cannot be told.
 */
export function noteJournalled (request: FastifyRequest, reply: FastifyReply, payload: unknown): void {
  const state = request[kIdempotency]
  if (!(state instanceof Run) || state.journalled === null) return
  const { journalled } = state
  journalled.answered = journalled.body === payload
  // The status chooses the schema that Fastify serializes by.
  if (isJournalled(journalled, reply.statusCode, payload)) reply.code(journalled.outcome.statusCode)
}
