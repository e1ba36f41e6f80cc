import { isUtf8 } from 'node:buffer'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { wasSentAsText } from '../core/sent-as-text.ts'
import type { KeptResponse } from '../store/store.ts'
import { applyKept, takeOffKept } from './headers.ts'
import { kIdempotency, Replay } from './state.ts'

/** The response header that tells a replay from a first answer. */
const REPLAYED = 'idempotent-replayed'

/**
 * Answers with a kept response. It passes through every `onSend` hook as a first answer does, so that other plugins add
 * what they add to each response.
 */
export function replay (
  request: FastifyRequest, reply: FastifyReply, statusCode: number, response: KeptResponse
): void {
  const body = putKept(request, reply, statusCode, response).body
  // A serializer that a hook has set would serialize the text once more.
  if (typeof body === 'string') reply.serializer(null as never)
  // Not `null`, which Fastify would serialize.
  reply.send(body ?? undefined)
}

/**
 * Makes a reply that is passing through `onSend` the kept response.
 * @returns the body to send
 */
export function replayInstead (
  request: FastifyRequest, reply: FastifyReply, statusCode: number, response: KeptResponse
): string | Buffer | null {
  const replay = putKept(request, reply, statusCode, response)
  // The caller puts the body in place.
  replay.restored = true
  return replay.body
}

function putKept (request: FastifyRequest, reply: FastifyReply, statusCode: number, response: KeptResponse): Replay {
  const replay = new Replay(statusCode, response, bodyOf(response), reply.getHeaders())
  request[kIdempotency] = replay
  reply.code(statusCode)
  applyKept(reply, response.headers)
  reply.header(REPLAYED, 'true')
  return replay
}

/**
 * Puts the kept body in place of what the `onSend` hooks before this one made of it. They had their turn when the body
 * was captured, and would transform it a second time. Only once: if a later hook fails, the error's answer passes here
 * too.
 */
export function restore (kept: Replay, reply: FastifyReply, payload: unknown): unknown {
  if (kept.restored) return payload
  kept.restored = true
  // A hook has refused the answer, and made another one. A refusal with the kept status cannot be told from a
  // transformed payload.
  if (reply.statusCode >= 400 && reply.statusCode !== kept.statusCode) {
    takeOffReplay(kept, reply)
    return payload
  }
  const { headers } = kept.response
  const contentType = headers.find(([name]) => name === 'content-type')?.[1]
  if (contentType == null) reply.removeHeader('content-type')
  else if (reply.getHeader('content-type') !== contentType) reply.header('content-type', contentType)
  return kept.body
}

/**
 * The body in the form in which it was sent: text, bytes or nothing. A store may return bytes for text, and `sanitize`
 * may turn either into the other.
 */
function bodyOf ({ headers, body }: KeptResponse): string | Buffer | null {
  if (wasSentAsText(headers) && (typeof body === 'string' || isUtf8(body))) return body.toString()
  // A copy: hooks may change it in place, and one record may be replayed several times.
  return body.length === 0 ? null : Buffer.from(body as string)
}

/** The answer of an error takes the place of a replay, and does not have the kept status. */
export function abandon (kept: Replay, reply: FastifyReply): void {
  // Fastify reports another error if the answer to the first one fails.
  if (kept.abandoned) return
  kept.abandoned = kept.restored = true
  takeOffReplay(kept, reply)
  reply.code(200)
}

function takeOffReplay ({ response, headersBefore }: Replay, reply: FastifyReply): void {
  takeOffKept(reply, response.headers, headersBefore)
  reply.removeHeader(REPLAYED)
}
