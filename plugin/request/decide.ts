import type { FastifyReply } from 'fastify'
import { lookUp } from '../core/look-up.ts'
import { isSameRequest } from '../core/same-request.ts'
import { IdempotencyError } from '../errors.ts'
import type { Journal, JournalEntry } from '../journal/journal.ts'
import { routeOf } from '../observe/channels.ts'
import { isFinalStatus } from '../options.ts'
import { journalInconsistent, keyReused, notCommitted, notReplayable } from '../refusals.ts'
import { bareError } from '../shared/error-facts.ts'
import { kindOf } from '../shared/values.ts'
import { andThen, readOption } from './option-call.ts'
import type { Journalled, Run } from './run.ts'

/** How a run can end. This file reads and decides; end.ts does it. */
export type Ending =
  /** Send the handler's answer. The key stays taken until its lease is over. `atWork`: the handler goes on. */
  | { end: 'leave', atWork: boolean }
  /** Send the handler's answer, and give the key back. */
  | { end: 'release' }
  /** Store the handler's answer, and send it. */
  | { end: 'keep' }
  /** Store and send what the handler wrote to the journal: its transaction has committed. */
  | { end: 'journalled', journalled: Journalled }
  /** Store and send the outcome of another attempt, which the journal has. */
  | { end: 'answer', entry: JournalEntry }
  /** Send a problem instead of the handler's answer. */
  | Refusal

export interface Refusal {
  end: 'refuse'
  error: IdempotencyError
  /** What becomes of the key: it is given back, it gets the outcome of the journal, or it is another attempt's. */
  key: 'release' | JournalEntry | null
  /** For the log, where the app has to be told of a mistake. */
  mistake?: string
}

const LEAVE: Ending = { end: 'leave', atWork: false }
const LEAVE_AT_WORK: Ending = { end: 'leave', atWork: true }
const RELEASE: Ending = { end: 'release' }
const KEEP: Ending = { end: 'keep' }

/**
 * How to end a run whose handler has answered with `payload`. Changes nothing. A promise only where an option returns
 * one or the journal has to be asked.
 */
export function decide (run: Run, payload: unknown): Ending | Promise<Ending> {
  // The handler still runs. Nobody may join it before its lease is over, which is no longer renewed.
  if (run.outcomeUnknown) return LEAVE_AT_WORK
  const { reply, settings: { journal, journalAnswers } } = run
  const statusCode = statusOf(reply, payload)
  return andThen(isKept(run, statusCode), (isKept) => {
    const own = isKept ? KEEP : isUndecided(run, statusCode) ? LEAVE : RELEASE
    if (journal === false) return own
    // Where the answer goes to the journal too, writing it shows what the journal has.
    if (isKept && journalAnswers && !run.wroteJournal) return own
    return decideByJournal(run, journal, statusCode, payload, own)
  })
}

function statusOf (reply: FastifyReply, payload: unknown): number {
  const isResponse = typeof payload === 'object' && Object.prototype.toString.call(payload) === '[object Response]'
  return isResponse ? (payload as Response).status : reply.statusCode
}

/** A function of the app must not turn a finished charge into a 500. */
export function isKept (run: Run, statusCode: number): boolean | Promise<boolean> {
  const { replayable } = run.settings
  if (run.releaseRequested) return false
  // The default returns a boolean and does not throw, and this costs no closures.
  if (replayable === isFinalStatus) return isFinalStatus(statusCode)
  return readOption(
    () => replayable(statusCode),
    (answer) => {
      if (typeof answer !== 'boolean') throw new TypeError(`it returned ${kindOf(answer)} instead of true or false`)
      return answer
    },
    (err) => {
      run.log.error(
        { err: bareError(err) },
        `idempotency: the option "replayable" of ${routeOf(run.request)} failed, its default decides`
      )
      return isFinalStatus(statusCode)
    })
}

/**
 * A handler's 408 says that something timed out, so nobody knows the outcome. Browsers send a request that is answered
 * 408 again at once, several times. The lease keeps these away. An app that has its own `replayable` decides for
 * itself.
 */
function isUndecided ({ releaseRequested, settings }: Run, statusCode: number): boolean {
  return statusCode === 408 && !releaseRequested && settings.replayable === isFinalStatus
}

/**
 * `decide` for a route with a journal. What is committed there, by this attempt or by an earlier one, counts more than
 * what the handler answers. A handler that answers with what it wrote need not have committed it: a failed statement
 * whose error was swallowed turns COMMIT into ROLLBACK, without an error. And a handler may have seen the effects of an
 * earlier attempt without knowing that they belong to the same operation.
 * @param statusCode that of the handler's answer
 * @param own how the run ends if the journal has nothing
 */
export async function decideByJournal (
  run: Run, journal: Journal, statusCode: number, payload: unknown, own: Ending
): Promise<Ending> {
  const { journalled } = run
  const answersJournalled = journalled !== null && isJournalled(journalled, statusCode, payload)
  let entry: JournalEntry | null
  try {
    entry = await lookUp(journal, run.id, run.log)
  } catch (error) {
    if (!(error instanceof IdempotencyError)) throw error
    // An answer of the handler that reports a failure already tells the client to try again.
    return own.end === 'keep' || answersJournalled ? { end: 'refuse', error, key: 'release' } : RELEASE
  }
  if (entry === null) return decideByNothing(run, answersJournalled, own)
  if (journalled !== null && entry.owner === run.owned.owner) return { end: 'journalled', journalled }
  if (!isSameRequest(run.owned, entry.fingerprint)) return { end: 'refuse', error: keyReused(), key: entry }
  const { response, statusCode: originalStatus } = entry.outcome
  if (response === null) return { end: 'refuse', error: notReplayable(originalStatus), key: entry }
  return { end: 'answer', entry }
}

/** The journal has no entry for the key. */
function decideByNothing (run: Run, answersJournalled: boolean, own: Ending): Ending {
  if (run.refusedByJournal) {
    return {
      end: 'refuse',
      error: journalInconsistent(),
      key: 'release',
      mistake: 'idempotency: the journal has the outcome of another attempt, and does not show it: ' +
        'does it look elsewhere than the transaction wrote?'
    }
  }
  if (!run.wroteJournal) return own
  if (answersJournalled) {
    return {
      end: 'refuse',
      error: notCommitted(),
      key: 'release',
      mistake: 'idempotency: the handler answers with what it recorded, but the journal does not have it: ' +
        'was its transaction rolled back, is it still open, or does the journal look elsewhere?'
    }
  }
  // The transaction was rolled back, or its commit has not arrived yet. The next attempt will see.
  return RELEASE
}

/**
 * Whether a handler answers with what it wrote to the journal, as far as that shows: its own failure may look the same.
 */
export function isJournalled ({ body, answered, outcome }: Journalled, statusCode: number, payload: unknown): boolean {
  return (answered || payload === body) && (statusCode < 400 || statusCode === outcome.statusCode)
}
