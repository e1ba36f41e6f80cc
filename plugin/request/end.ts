import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { complete, completeThen, release } from '../core/finish.ts'
import { keptResponseOf } from '../core/kept-response.ts'
import type { Ownership } from '../core/ownership.ts'
import type { Journal, JournalEntry } from '../journal/journal.ts'
import { inProgress, journalUnavailable } from '../refusals.ts'
import { factsOf } from '../shared/error-facts.ts'
import type { Outcome } from '../store/store.ts'
import { capture, framed } from './capture.ts'
import type { Captured } from './capture.ts'
import { decide, decideByJournal, isKept } from './decide.ts'
import type { Ending, Refusal } from './decide.ts'
import { dropHttp1Fields, headersToKeep, resetHeaders } from './headers.ts'
import { writeAlone } from './journal-completion.ts'
import { addRefusalHeaders, problemOf } from './problem.ts'
import { storeEntry } from './recall.ts'
import { replayInstead } from './replay.ts'
import { Run } from './run.ts'
import type { Journalled } from './run.ts'
import { sanitized } from './sanitize.ts'
import { putBack, snapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'

/*
 * The end of a run: decide.ts says how it ends, this file does it. Once the handler runs, nothing else tells the store
 * how a request ended, or sets the stage of a run. The way of a plain answer has no promises, since the benchmark
 * shows what they cost there.
 */

/** Passes a payload on to the next `onSend` hook, or an error whose answer takes the place of this one. */
export type Done = (error: Error | null, payload?: unknown) => void

/** A promise for the payload to send, or `undefined` if `done` is called with it. */
type Sent = Promise<unknown> | undefined

/**
 * Ends a run as its answer passes through `onSend`, before the first byte leaves.
 * @returns the payload to send; `undefined` if `done` gets it, or if another answer of the run is on its way and goes
 *   first
 * @throws an error whose answer takes the place of this one, and passes through `onSend` itself
 */
export function endRun (run: Run, payload: unknown, done: Done): Sent {
  if (run.stage === 'ending') {
    // `reply.send()` without `return reply`, or a `handlerTimeout` meanwhile: Fastify sends what comes first.
    run.disturbed = true
    return undefined
  }
  run.stage = 'ending'
  run.unwatchClient()
  const ending = decide(run, payload)
  if (!(ending instanceof Promise)) return perform(run, payload, ending, done)
  const sent = snapshot(run.reply)
  return ending.then((ending) => {
    if (run.disturbed) putBack(run.reply, sent)
    return promised(done => perform(run, payload, ending, done))
  })
}

/**
 * Ends a run whose answer has left without passing through `onSend`, and so cannot be kept any more.
 * @returns whether there was such a run to end
 */
export function endIfSent (owner: Ownership): boolean {
  if (!(owner instanceof Run) || owner.stage !== 'open' || !owner.reply.raw.writableFinished) return false
  void releaseOrSettle(owner)
  return true
}

export async function releaseOrSettle (run: Run): Promise<void> {
  if (run.stage !== 'open') return
  run.stage = 'ended'
  run.unwatchClient()
  // The handler still runs.
  if (run.outcomeUnknown) return
  const { engine, reply: { raw: { statusCode } } } = run
  // Whether a journal entry was committed, the next attempt finds out.
  if (run.wroteJournal || !await isKept(run, statusCode)) await release(engine, run, statusCode)
  else await complete(engine, run, { statusCode, response: null })
}

/** Makes a step return a promise in every case. */
function promised (step: (done: Done) => Sent): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = step((error, payload) => {
      if (error === null) resolve(payload)
      else reject(error)
    })
    if (sent !== undefined) resolve(sent)
  })
}

function perform (run: Run, payload: unknown, ending: Ending, done: Done): Sent {
  switch (ending.end) {
    case 'leave':
      return leave(run, payload, ending.atWork)
    case 'release': {
      const sent = snapshot(run.reply)
      return release(run.engine, run, sent.statusCode).then(() => send(run, sent, payload))
    }
    case 'keep':
      return keep(run, payload, done)
    case 'journalled':
      return sendJournalled(run, payload, ending.journalled)
    case 'answer':
      return answerFromJournal(run, payload, ending.entry)
    case 'refuse':
      return refuse(run, payload, ending)
  }
}

/** The last step of every end. */
function send (run: Run, sent: Snapshot, payload: unknown): unknown {
  run.stage = 'ended'
  if (run.disturbed) putBack(run.reply, sent)
  // The app may have begun to close while the outcome was being stored.
  if (run.engine.closing.aborted) closeConnection(run.request, run.reply)
  return payload
}

/** Otherwise the server would wait for the client's next request. HTTP/2 has no such header. */
export function closeConnection (request: FastifyRequest, reply: FastifyReply): void {
  if (request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
}

async function leave (run: Run, payload: unknown, atWork: boolean): Promise<unknown> {
  run.stage = 'ended'
  // After a 408 the handler has ended, and lets the key go. A handler that goes on keeps the key until its lease is
  // over. A `handlerTimeout` that comes after its answer changes nothing.
  if (!atWork) {
    run.ended = true
    run.engine.leases.letGo(run)
  }
  return payload
}

function keep (run: Run, payload: unknown, done: Done): Sent {
  let captured: ReturnType<typeof capture>
  try {
    captured = capture(run.reply, payload, run.settings.maxBodySize)
  } catch (error) {
    return reopen(run, error)
  }
  if (captured === undefined) {
    // Fastify will refuse to send it.
    run.stage = 'open'
    return Promise.resolve(payload)
  }
  const isText = typeof payload === 'string'
  if (!(captured instanceof Promise)) return keepCaptured(run, captured, isText, done)
  return captured.then(
    captured => promised(done => keepCaptured(run, captured, isText, done)),
    (error: unknown) => reopen(run, error))
}

/** The error's answer will pass through `onSend` too. */
async function reopen (run: Run, error: unknown): Promise<never> {
  run.stage = 'open'
  throw error
}

function keepCaptured (run: Run, captured: Captured, isText: boolean, done: Done): Sent {
  const { request, reply, settings, headersBefore } = run
  const { body } = captured
  let sent: Snapshot
  let response: ReturnType<typeof sanitized>
  try {
    dropHttp1Fields(request, reply)
    sent = snapshot(reply)
    response = body === null || run.hasTrailers
      ? null
      : sanitized(run, sent.statusCode, { headers: headersToKeep(headersBefore, sent.headers, settings, isText), body })
  } catch (error) {
    // A header has a value that no text can be made of.
    return reopen(run, error)
  }
  const { statusCode } = sent
  if (!(response instanceof Promise)) return store(run, captured, { statusCode, response }, sent, done)
  return response.then(response => promised(done => store(run, captured, { statusCode, response }, sent, done)))
}

function store (run: Run, captured: Captured, outcome: Outcome, sent: Snapshot, done: Done): Sent {
  const { engine, settings: { journal, journalAnswers } } = run
  if (journal !== false && journalAnswers) return journalAndStore(run, journal, captured, outcome, sent)
  completeThen(engine, run, outcome, (isOwner) => {
    if (isOwner !== false || journal === false) return pass(() => send(run, sent, captured.payload), done)
    // Another attempt runs, and may yet commit what contradicts this answer.
    refuse(run, captured.payload, { error: inProgress(), key: null })
      .then((payload) => { pass(() => payload, done) }, done)
  })
  return undefined
}

/** Fastify answers with what it throws itself while it sends only if `done` gets that too. */
function pass (payloadOf: () => unknown, done: Done): void {
  try {
    done(null, payloadOf())
  } catch (error) {
    done(error as Error)
  }
}

/** Stores an answer that the handler did not write to the journal itself, and that the journal is to have too. */
async function journalAndStore (
  run: Run, journal: Journal, { payload }: Captured, outcome: Outcome, sent: Snapshot
): Promise<unknown> {
  try {
    if (await writeAlone(run, journal, outcome)) {
      await complete(run.engine, run, outcome)
      return send(run, sent, payload)
    }
  } catch (err) {
    run.log.error({ err: factsOf(err) }, 'idempotency: the journal did not take the answer')
    return await refuse(run, payload, { error: journalUnavailable(err), key: 'release' })
  }
  // The journal has the outcome of another attempt.
  const ending = await decideByJournal(run, journal, sent.statusCode, payload, { end: 'keep' })
  return await promised(done => perform(run, payload, ending, done))
}

async function sendJournalled (run: Run, payload: unknown, journalled: Journalled): Promise<unknown> {
  const { request, reply, engine } = run
  const { headers, headersBefore, bytes, outcome } = journalled
  // The handler failed after the commit. The headers of its failure go.
  if (reply.statusCode >= 400 && reply.statusCode !== outcome.statusCode) resetHeaders(reply, headersBefore)
  if (headers['content-type'] === undefined) reply.removeHeader('content-type')
  reply.code(outcome.statusCode).headers(headers)
  dropHttp1Fields(request, reply)
  const sent = snapshot(reply)
  discard(payload)
  await complete(engine, run, outcome)
  return send(run, sent, bytes.length === 0 ? null : framed(reply, bytes))
}

async function answerFromJournal (run: Run, payload: unknown, entry: JournalEntry): Promise<unknown> {
  const { engine, request, reply, owned: { attempt }, startedAt } = run
  const { outcome } = entry
  await storeEntry(run, entry)
  const response = keptResponseOf(engine, run, outcome, { attempt, since: startedAt, recalled: true, cached: false })
  discard(payload)
  run.stage = 'ended'
  resetHeaders(reply, run.headersBefore)
  return replayInstead(request, reply, outcome.statusCode, response)
}

/** Sends a problem, or has the app's error handler send one, in place of the handler's answer. */
async function refuse (
  run: Run, payload: unknown, { error, key, mistake }: Omit<Refusal, 'end'>
): Promise<unknown> {
  const { engine, reply, settings } = run
  if (key === 'release') await release(engine, run, error.statusCode)
  // An entry of the same request is refused because its response was not kept.
  else if (key !== null && await storeEntry(run, key)) {
    engine.events.conflicted(run, run.owned.attempt, run.startedAt)
  }
  if (mistake !== undefined) run.log.error(mistake)
  discard(payload)
  run.stage = 'ended'
  resetHeaders(reply, run.headersBefore)
  addRefusalHeaders(reply, error, engine.settings, settings)
  if (engine.settings.errors === 'error-handler') throw error
  return problemOf(reply, error, engine.settings)
}

/** A stream that is not sent must not be left open. */
function discard (payload: unknown): void {
  if (payload instanceof Readable) payload.destroy()
  else if (payload instanceof ReadableStream) void payload.cancel()
}
