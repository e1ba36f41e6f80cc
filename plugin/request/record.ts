import type { FastifyReply } from 'fastify'
import { JournalConflictError } from '../journal/journal.ts'
import type { Journal, JournalEntry, Queryable } from '../journal/journal.ts'
import type { Outcome } from '../store/store.ts'
import type { JournalledAnswer } from '../types.ts'
import { headersToKeep } from './headers.ts'
import type { Headers } from './headers.ts'
import { completedElsewhere } from './refuse.ts'
import type { Run } from './run.ts'
import { sanitized } from './sanitize.ts'

/** An answer that stands in the journal, if the handler's transaction commits. */
export interface Recorded {
  /** What the handler is to answer with. */
  body: unknown
  /** Fastify is about to send `body`, serialized once more. */
  answered: boolean
  bytes: Buffer
  headers: Record<string, string | string[]>
  /** Those of the reply when it was recorded. */
  headersBefore: Headers
  outcome: Outcome
}

/** Whether a handler answers with what it recorded, as far as that can be told: a failure of its own may look the same. */
export function isRecorded ({ body, answered, outcome }: Recorded, statusCode: number, payload: unknown): boolean {
  return (answered || payload === body) && (statusCode < 400 || statusCode === outcome.statusCode)
}

/** `request.idempotency.complete()`: makes the answer what will be sent and kept, and writes it in the transaction. */
export async function record<T> (run: Run, tx: Queryable, { body, headers = {}, statusCode = body === undefined ? 204 : 200 }: JournalledAnswer<T>): Promise<T> {
  const { reply } = run
  const { journal, maxBodySize } = run.settings
  if (journal === false) {
    throw new Error('fastify-idempotency: request.idempotency.complete() needs a journal: set the option "journal", where the plugin is registered or on this route')
  }
  if (typeof (tx as Partial<Queryable> | null)?.query !== 'function') {
    throw new TypeError('fastify-idempotency: request.idempotency.complete() takes the client of the transaction first, one with a query method')
  }
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599) {
    throw new TypeError(`fastify-idempotency: request.idempotency.complete() takes a statusCode from 200 to 599, got ${String(statusCode)}`)
  }
  const given: Recorded['headers'] = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const contentType = String(given['content-type'] ?? reply.getHeader('content-type') ?? contentTypeOf(body) ?? '')
  if (contentType !== '') given['content-type'] = contentType
  const bytes = serialize(reply, statusCode, contentType, body)
  // Before anything is waited for: a handler that does not await this call may answer meanwhile.
  run.recording = true
  const outcome: Outcome = {
    statusCode,
    response: bytes.length > maxBodySize || run.hasTrailers
      ? null
      : await sanitized(run, statusCode, { headers: headersToKeep(run.headersBefore, { ...reply.getHeaders(), ...given }, run.settings, false), body: bytes })
  }
  try {
    await journal.record(tx, run.id, entryOf(run, outcome), keepFor(run))
  } catch (cause) {
    if (!(cause instanceof JournalConflictError)) throw cause
    if (cause.owner === run.owned.owner) {
      throw new Error('fastify-idempotency: request.idempotency.complete() was called before in this run, and what it recorded has not been rolled back: call it once, as the last thing in the one transaction', { cause })
    }
    run.refused = true
    throw completedElsewhere(cause)
  }
  run.refused = false
  run.recorded = { body, answered: false, bytes, headers: given, headersBefore: reply.getHeaders(), outcome }
  return body as T
}

/**
 * Writes an answer that the handler did not complete with, in a statement of its own. Resolves to whether it stands there
 * now; if not, that of another attempt does.
 * @throws the error of the journal, if it cannot be asked
 */
export async function recordAlone (run: Run, journal: Journal, outcome: Outcome): Promise<boolean> {
  try {
    await journal.record(null, run.id, entryOf(run, outcome), keepFor(run))
    return true
  } catch (error) {
    if (!(error instanceof JournalConflictError)) throw error
    run.refused = true
    return false
  }
}

function entryOf ({ owned: { fingerprint, attempt, owner } }: Run, outcome: Outcome): JournalEntry {
  return { fingerprint, attempt, owner, outcome }
}

/** For as long as Redis may have the key: it counts from the completion, which is not before the commit. */
function keepFor ({ settings: { retention, maxExecution } }: Run): number {
  return retention + maxExecution
}

function contentTypeOf (body: unknown): string | undefined {
  if (body === undefined) return undefined
  if (typeof body === 'string') return 'text/plain; charset=utf-8'
  return body instanceof Uint8Array ? 'application/octet-stream' : 'application/json; charset=utf-8'
}

/** As Fastify would when it sends it: through the response schema of the status. Before the commit, since it may throw. */
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

/** Where a response schema tells media types apart, which `reply.serialize` does not. */
function serializersByMediaType (reply: FastifyReply, statusCode: number): Record<string, (body: unknown) => string> | null {
  for (const status of [String(statusCode), `${String(statusCode)[0]}xx`, 'default']) {
    const serializer: unknown = reply.getSerializationFunction(status)
    if (typeof serializer === 'object' && serializer !== null) return serializer as Record<string, (body: unknown) => string>
    if (serializer !== undefined) return null
  }
  return null
}
