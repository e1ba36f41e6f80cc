import type { FastifyReply } from 'fastify'
import { JournalConflictError } from '../journal/journal.ts'
import type { Journal, JournalEntry, Queryable } from '../journal/journal.ts'
import type { Outcome } from '../store/store.ts'
import { completedElsewhere } from '../refusals.ts'
import type { JournalledAnswer } from '../types.ts'
import { headersToKeep } from './headers.ts'
import type { Journalled, Run } from './run.ts'
import { sanitized } from './sanitize.ts'

/**
 * `request.idempotency.complete()`: makes the answer the one that is sent and kept, and writes it to the journal in the
 * handler's transaction.
 */
export async function completeInJournal<T> (run: Run, tx: Queryable, answer: JournalledAnswer<T>): Promise<T> {
  const { reply, settings: { journal, maxBodySize } } = run
  const { body, headers = {}, statusCode = body === undefined ? 204 : 200 } = answer
  if (journal === false) {
    throw new Error('fastify-idempotency: request.idempotency.complete() needs a journal: ' +
      'set the option "journal", where the plugin is registered or on this route')
  }
  if (typeof (tx as Partial<Queryable> | null)?.query !== 'function') {
    throw new TypeError('fastify-idempotency: request.idempotency.complete() takes the client of the transaction ' +
      'first, one with a query method')
  }
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599) {
    throw new TypeError('fastify-idempotency: request.idempotency.complete() takes a statusCode from 200 to 599, ' +
      `got ${String(statusCode)}`)
  }
  const given: Journalled['headers'] = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
  )
  const contentType = String(given['content-type'] ?? reply.getHeader('content-type') ?? contentTypeOf(body) ?? '')
  if (contentType !== '') given['content-type'] = contentType
  const bytes = serialize(reply, statusCode, contentType, body)
  // Before the first `await`: a handler that does not await this call may answer meanwhile.
  run.wroteJournal = true
  const kept = headersToKeep(run.headersBefore, { ...reply.getHeaders(), ...given }, run.settings, false)
  const response = bytes.length > maxBodySize || run.hasTrailers
    ? null
    : await sanitized(run, statusCode, { headers: kept, body: bytes })
  const outcome: Outcome = { statusCode, response }
  try {
    await journal.record(tx, run.id, entryOf(run, outcome), keepFor(run))
  } catch (cause) {
    if (!(cause instanceof JournalConflictError)) throw cause
    if (cause.owner === run.owned.owner) {
      throw new Error('fastify-idempotency: request.idempotency.complete() was called before in this run, and what ' +
        'it recorded has not been rolled back: call it once, as the last thing in the one transaction', { cause })
    }
    run.refusedByJournal = true
    throw completedElsewhere(cause)
  }
  run.refusedByJournal = false
  run.journalled = { body, answered: false, bytes, headers: given, headersBefore: reply.getHeaders(), outcome }
  return body as T
}

/**
 * Writes an answer that the handler did not write itself, in a statement of its own.
 * @returns whether the journal has it now. If not, it has the outcome of another attempt.
 * @throws the error of the journal, if it cannot be asked
 */
export async function writeAlone (run: Run, journal: Journal, outcome: Outcome): Promise<boolean> {
  try {
    await journal.record(null, run.id, entryOf(run, outcome), keepFor(run))
    return true
  } catch (error) {
    if (!(error instanceof JournalConflictError)) throw error
    run.refusedByJournal = true
    return false
  }
}

function entryOf ({ owned: { fingerprint, attempt, owner } }: Run, outcome: Outcome): JournalEntry {
  return { fingerprint, attempt, owner, outcome }
}

/**
 * Milliseconds for which Redis may have the key: its retention counts from the completion, which comes after the
 * commit.
 */
function keepFor ({ settings: { retention, maxExecution } }: Run): number {
  return retention + maxExecution
}

function contentTypeOf (body: unknown): string | undefined {
  if (body === undefined) return undefined
  if (typeof body === 'string') return 'text/plain; charset=utf-8'
  return body instanceof Uint8Array ? 'application/octet-stream' : 'application/json; charset=utf-8'
}

/**
 * Serializes as Fastify would when it sends: through the response schema of the status. That may throw, so it is done
 * before the commit.
 */
function serialize (reply: FastifyReply, statusCode: number, contentType: string, body: unknown): Buffer {
  if (body === undefined) return Buffer.alloc(0)
  if (typeof body === 'string' || body instanceof Uint8Array) return Buffer.from(body as string)
  const byMediaType = serializersByMediaType(reply, statusCode)
  if (byMediaType !== null) {
    const mediaType = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? ''
    const serializer = byMediaType[mediaType] ?? byMediaType['*/*'] ?? JSON.stringify
    return Buffer.from(serializer(body))
  }
  const before = reply.raw.statusCode
  reply.raw.statusCode = statusCode
  try {
    return Buffer.from(reply.serialize(body as Record<string, unknown>) as string)
  } finally {
    reply.raw.statusCode = before
  }
}

type Serializers = Record<string, (body: unknown) => string>

/** The serializers of a response schema that has one for each media type. `reply.serialize` knows only one. */
function serializersByMediaType (reply: FastifyReply, statusCode: number): Serializers | null {
  for (const status of [String(statusCode), `${String(statusCode)[0]}xx`, 'default']) {
    const serializer: unknown = reply.getSerializationFunction(status)
    if (typeof serializer === 'object' && serializer !== null) return serializer as Serializers
    if (serializer !== undefined) return null
  }
  return null
}
