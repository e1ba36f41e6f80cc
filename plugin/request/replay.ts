import { isUtf8 } from 'node:buffer'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { channels, eventOf } from '../observe/channels.ts'
import type { Subject } from '../observe/channels.ts'
import type { KeptResponse, Outcome } from '../store/store.ts'
import { ReplayView } from './run.ts'
import { applyKept, takeOffKept, wasSentAsText } from './headers.ts'
import { notReplayable } from './refuse.ts'
import { kIdempotency, Replay } from './state.ts'
import type { Engine } from '../core/engine.ts'

/** The response header that tells a replay from a first answer. */
export const REPLAYED = 'idempotent-replayed'

/**
 * Answers with a kept outcome. It passes through every `onSend` hook like a first answer does, so that what other
 * plugins add per response is made anew.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_NOT_REPLAYABLE` if the run had an outcome but its response was not kept
 */
export function replay (engine: Engine, subject: Subject & { request: FastifyRequest }, reply: FastifyReply, key: string, attempt: number, outcome: Outcome, how: { recalled: boolean, asked: number }): void {
  const { statusCode } = outcome
  const response = replayableResponse(engine, subject, attempt, outcome, how)
  const { request, scope } = subject
  request.idempotency = new ReplayView(key, scope, attempt)
  const body = keptBody(response)
  request[kIdempotency] = new Replay(statusCode, response, body, reply.getHeaders())
  reply.code(statusCode)
  applyKept(reply, response.headers)
  reply.header(REPLAYED, 'true')
  // One that a hook has set would serialize the text once more.
  if (typeof body === 'string') reply.serializer(null as never)
  // Not `null`, which Fastify would serialize.
  reply.send(body ?? undefined)
}

/**
 * What is to be answered of a kept outcome, counted as a replay.
 * @param how `recalled`: from the journal; `asked`: `performance.now()` before the claim
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_NOT_REPLAYABLE` if the run had an outcome but its response was not kept
 */
export function replayableResponse (engine: Engine, subject: Subject, attempt: number, { statusCode, response }: Outcome, { recalled, asked }: { recalled: boolean, asked: number }): KeptResponse {
  if (response === null) {
    engine.counts.conflicts++
    if (channels.conflicted.hasSubscribers) channels.conflicted.publish(eventOf(subject, attempt, asked))
    throw notReplayable(statusCode)
  }
  engine.counts.replayed++
  if (channels.replayed.hasSubscribers) channels.replayed.publish({ ...eventOf(subject, attempt, asked), statusCode, recalled })
  return response
}

/**
 * Puts the kept body in place of what the `onSend` hooks before this one made of it: they had their turn when it was
 * captured, and would transform it twice. Once only: if a later hook fails, the error's own answer passes here too.
 */
export function restore (kept: Replay, reply: FastifyReply, payload: unknown): unknown {
  if (kept.restored) return payload
  kept.restored = true
  // The hook has refused the answer, and what it made instead is the message. One that refuses with the kept status cannot
  // be told from one that transforms the payload.
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
 * What was sent, in the form in which it was: text, bytes or nothing. Of text a store may have handed out the bytes, and
 * `sanitize` may have made of each what it likes.
 */
export function keptBody ({ headers, body }: KeptResponse): string | Buffer | null {
  if (wasSentAsText(headers) && (typeof body === 'string' || isUtf8(body))) return body.toString()
  // A copy: hooks may change it in place, and several replays may be made of one record.
  return body.length === 0 ? null : Buffer.from(body as string)
}

/** An error's answer takes the place of a replay. Its status is not the kept one. */
export function abandon (kept: Replay, reply: FastifyReply): void {
  // Fastify tells of an error once more where the answer to it fails, too.
  if (kept.abandoned) return
  kept.abandoned = kept.restored = true
  takeOffReplay(kept, reply)
  reply.code(200)
}

function takeOffReplay ({ response, headersBefore }: Replay, reply: FastifyReply): void {
  takeOffKept(reply, response.headers, headersBefore)
  reply.removeHeader(REPLAYED)
}
