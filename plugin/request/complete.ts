import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { routeOf } from '../observe/channels.ts'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { journalUnavailable } from '../journal/look-up.ts'
import type { Journal } from '../journal/journal.ts'
import { isSettling } from '../options.ts'
import { andThen, kindOf, later } from './answers-of-options.ts'
import { capture, framed } from './capture.ts'
import type { Captured } from './capture.ts'
import { dropHttp1Fields, headersToKeep, resetHeaders } from './headers.ts'
import type { Headers } from './headers.ts'
import { complete, release } from '../core/finish.ts'
import { answerByJournal, applyRecorded, refuseInstead } from './recall.ts'
import { recordAlone } from './record.ts'
import type { Recorded } from './record.ts'
import { inProgress } from './refuse.ts'
import type { Run } from './run.ts'
import { sanitized } from './sanitize.ts'
import type { Engine } from '../core/engine.ts'
import type { KeptResponse, Outcome } from '../store/store.ts'

/**
 * Settles a run as its answer passes through `onSend`, before the first byte leaves. Resolves to the payload to send.
 * `undefined` where there is nothing to send yet: another answer is already on its way and goes first.
 */
export function settle (engine: Engine, run: Run, reply: FastifyReply, payload: unknown): Promise<unknown> | undefined {
  if (run.stage === 'settling') {
    // `reply.send()` without `return reply`, or a `handlerTimeout` meanwhile: Fastify sends what comes first.
    run.disturbed = true
    return undefined
  }
  run.stage = 'settling'
  run.unwatchClient()
  return store(engine, run, reply, payload)
}

function store (engine: Engine, run: Run, reply: FastifyReply, payload: unknown): Promise<unknown> {
  if (run.outcomeUnknown) {
    // The handler still runs. Nobody may join it before its lease is over, which is no longer renewed.
    run.stage = 'settled'
    return Promise.resolve(payload)
  }
  const decide = run.settings.journal === false ? storeOwn : storeByJournal
  if (run.releaseRequested) return decide(engine, run, reply, payload, false)
  const keepable = isReplayable(run, statusOf(reply, payload))
  if (!(keepable instanceof Promise)) return decide(engine, run, reply, payload, keepable)
  const sent = snapshot(reply)
  return keepable.then((keepable) => {
    if (run.disturbed) putBack(reply, sent)
    return decide(engine, run, reply, payload, keepable)
  })
}

/** What the handler answers stands for itself. */
function storeOwn (engine: Engine, run: Run, reply: FastifyReply, payload: unknown, keepable: boolean): Promise<unknown> {
  if (keepable) return keep(engine, run, reply, payload)
  if (!isUndecided(run, statusOf(reply, payload))) return giveBack(engine, run, reply, payload)
  // Browsers send a request again at once, several times over, if it is answered 408. The lease keeps them out, and is no
  // longer renewed.
  run.stage = 'settled'
  run.ended = true
  engine.leases.letGo(run)
  return Promise.resolve(payload)
}

/** What is committed, by this or an earlier attempt, stands above what the handler answers. */
async function storeByJournal (engine: Engine, run: Run, reply: FastifyReply, payload: unknown, keepable: boolean): Promise<unknown> {
  // What stands there already is found when the answer is written.
  if (keepable && run.settings.journalAnswers && !run.recording) return keep(engine, run, reply, payload)
  const sent = snapshot(reply)
  const decision = await answerByJournal(engine, run, reply, payload, keepable)
  switch (decision.send) {
    case 'own':
      return storeOwn(engine, run, reply, payload, keepable)
    case 'payload':
      return finish(run, reply, sent, payload)
    case 'recorded':
      return sendRecorded(engine, run, reply, payload, decision.recorded, sent)
    case 'other':
      discard(payload)
      run.stage = 'settled'
      return decision.payload
  }
}

async function sendRecorded (engine: Engine, run: Run, reply: FastifyReply, payload: unknown, recorded: Recorded, before: Snapshot): Promise<unknown> {
  if (run.disturbed) putBack(reply, before)
  applyRecorded(reply, recorded)
  dropHttp1Fields(run.request, reply)
  const sent = snapshot(reply)
  discard(payload)
  await complete(engine, run, recorded.outcome)
  return finish(run, reply, sent, recorded.bytes.length === 0 ? null : framed(reply, recorded.bytes))
}

/** An answer that the handler did not complete with, and that the journal is to have too. */
async function journalAnswer (engine: Engine, run: Run, journal: Journal, reply: FastifyReply, captured: Captured, outcome: Outcome, sent: Snapshot): Promise<unknown> {
  let stands
  try {
    stands = await recordAlone(run, journal, outcome)
  } catch (err) {
    run.log.error({ err: factsOf(err) }, 'idempotency: the journal did not take the answer')
    await release(engine, run, sent.statusCode)
    return refuseInstead(engine, run, reply, journalUnavailable(err))
  }
  if (stands) {
    await complete(engine, run, outcome)
    return finish(run, reply, sent, captured.payload)
  }
  const decision = await answerByJournal(engine, run, reply, captured.payload, true)
  if (decision.send !== 'other') return finish(run, reply, sent, captured.payload)
  discard(captured.payload)
  run.stage = 'settled'
  return decision.payload
}

function giveBack (engine: Engine, run: Run, reply: FastifyReply, payload: unknown): Promise<unknown> {
  const sent = snapshot(reply)
  return release(engine, run, sent.statusCode).then(() => finish(run, reply, sent, payload))
}

function keep (engine: Engine, run: Run, reply: FastifyReply, payload: unknown): Promise<unknown> {
  let captured: ReturnType<typeof capture>
  try {
    captured = capture(reply, payload, run.settings.maxBodySize)
  } catch (error) {
    return reopen(run, error)
  }
  if (!(captured instanceof Promise)) return keepCaptured(engine, run, reply, payload, captured)
  return captured.then(captured => keepCaptured(engine, run, reply, payload, captured), (error: unknown) => reopen(run, error))
}

/** The error becomes the answer, and comes by here again. */
async function reopen (run: Run, error: unknown): Promise<never> {
  run.stage = 'open'
  throw error
}

function keepCaptured (engine: Engine, run: Run, reply: FastifyReply, payload: unknown, captured: Captured | undefined): Promise<unknown> {
  if (captured === undefined) {
    run.stage = 'open'
    return Promise.resolve(payload)
  }
  dropHttp1Fields(run.request, reply)
  const sent = snapshot(reply)
  const { body } = captured
  const response = body === null || run.hasTrailers
    ? null
    : sanitized(run, sent.statusCode, { headers: headersToKeep(run.headersBefore, sent.headers, run.settings, typeof payload === 'string'), body })
  return andThen(response, (response: KeptResponse | null) =>
    storeCaptured(engine, run, reply, captured, { statusCode: sent.statusCode, response }, sent))
}

function storeCaptured (engine: Engine, run: Run, reply: FastifyReply, captured: Captured, outcome: Outcome, sent: Snapshot): Promise<unknown> {
  const { journal, journalAnswers } = run.settings
  if (journal !== false && journalAnswers) return journalAnswer(engine, run, journal, reply, captured, outcome, sent)
  return complete(engine, run, outcome).then((owned) => {
    // Another attempt runs, and may yet commit what contradicts this answer.
    if (owned === false && run.settings.journal !== false) return refuseInstead(engine, run, reply, inProgress())
    return finish(run, reply, sent, captured.payload)
  })
}

/** The status and headers that go with the payload that is being stored. */
interface Snapshot {
  statusCode: number
  headers: Headers
}

function snapshot (reply: FastifyReply): Snapshot {
  return { statusCode: reply.statusCode, headers: reply.getHeaders() }
}

function finish (run: Run, reply: FastifyReply, { statusCode, headers }: Snapshot, payload: unknown): unknown {
  run.stage = 'settled'
  if (run.disturbed) putBack(reply, { statusCode, headers })
  // It may have begun to close while the outcome was being stored.
  if (run.appCloses) letConnectionGo(run.request, reply)
  return payload
}

/** Or the connection is kept alive, and the server waits for the client's next request. HTTP/2 has no such header. */
export function letConnectionGo (request: FastifyRequest, reply: FastifyReply): void {
  if (request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
}

function putBack (reply: FastifyReply, { statusCode, headers }: Snapshot): void {
  reply.code(statusCode)
  resetHeaders(reply, headers)
}

/** A stream that is not sent after all must not be left open. */
function discard (payload: unknown): void {
  if (payload instanceof Readable) payload.destroy()
  else if (payload instanceof ReadableStream) void payload.cancel()
}

function statusOf (reply: FastifyReply, payload: unknown): number {
  return typeof payload === 'object' && Object.prototype.toString.call(payload) === '[object Response]' ? (payload as Response).status : reply.statusCode
}

/** The app's function must not turn a finished charge into a 500. A promise only if it returns one. */
function isReplayable (run: Run, statusCode: number): boolean | Promise<boolean> {
  return later(
    () => run.settings.replayable(statusCode),
    (answer) => {
      if (typeof answer !== 'boolean') throw new TypeError(`it returned ${kindOf(answer)} instead of true or false`)
      return answer
    },
    (err) => {
      run.log.error({ err: bareError(err) }, `idempotency: the option "replayable" of ${routeOf(run.request)} failed, its default decides`)
      return isSettling(statusCode)
    })
}

/** A handler's 408 says that something timed out, and so that nobody knows the outcome, unless the app decides otherwise. */
function isUndecided ({ releaseRequested, settings }: Run, statusCode: number): boolean {
  return statusCode === 408 && !releaseRequested && settings.replayable === isSettling
}

/** Settles a run whose answer did not pass through `onSend`, after it has left and cannot be kept any more. */
export async function settleUnseen (engine: Engine, run: Run): Promise<void> {
  if (run.stage !== 'open') return
  run.stage = 'settled'
  run.unwatchClient()
  // The handler still runs.
  if (run.outcomeUnknown) return
  const { statusCode } = run.reply.raw
  // What a handler recorded is there or not: the next attempt looks.
  if (run.releaseRequested || run.recording || !await isReplayable(run, statusCode)) await release(engine, run, statusCode)
  else await complete(engine, run, { statusCode, response: null })
}
