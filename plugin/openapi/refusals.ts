import { IdempotencyError } from '../errors.ts'
import type { IdempotencyErrorCode } from '../errors.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ProtectedRoute } from './protected-route.ts'

/** A status with which the plugin itself answers. */
export interface Refusal {
  status: number
  description: string
  headers: Record<string, JsonSchema>
  /** The schema of the problem document. `null` if the app's error handler writes the answer. */
  problem: JsonSchema | null
}

/**
 * What each error code means for clients. The codes with status 500 are not listed: they tell developers what to
 * repair.
 */
const MEANINGS = {
  FST_IDEMPOTENCY_KEY_MISSING: 'the request has no idempotency key.',
  FST_IDEMPOTENCY_KEY_INVALID: 'the idempotency key is malformed.',
  FST_IDEMPOTENCY_IN_PROGRESS: 'a request with this idempotency key is being worked on: ' +
    'send it again later to get its answer.',
  FST_IDEMPOTENCY_NOT_REPLAYABLE: 'the request with this idempotency key was carried out, but its response was not ' +
    'kept: look its effect up instead of sending it again.',
  FST_IDEMPOTENCY_RECORD_UNREADABLE: 'the request with this idempotency key may have been carried out, by another ' +
    'version of the service: look its effect up instead of sending it again.',
  FST_IDEMPOTENCY_BODY_UNREADABLE: 'the body cannot be compared with that of a retry.',
  FST_IDEMPOTENCY_KEY_REUSED: 'the idempotency key was used before for another request: ' +
    'send a new key with a new operation.',
  FST_IDEMPOTENCY_STORE_UNAVAILABLE: 'the request was not carried out, since it could not be protected against being ' +
    'carried out twice: send it again later.'
} satisfies Partial<Record<IdempotencyErrorCode, string>>

type ClientCode = keyof typeof MEANINGS

/** Methods whose bodies Fastify never reads. */
const BODYLESS = new Set(['GET', 'HEAD', 'TRACE'])

/** The refusals that a route's clients may get. */
export function refusalsOf (route: ProtectedRoute): Refusal[] {
  const byStatus = new Map<number, ClientCode[]>()
  for (const code of codesOf(route)) {
    const { statusCode } = new IdempotencyError(code, MEANINGS[code])
    byStatus.set(statusCode, [...byStatus.get(statusCode) ?? [], code])
  }
  return Array.from(byStatus, ([status, codes]) => ({
    status,
    description: codes.map(code => `\`${code}\`: ${MEANINGS[code]}`).join('\n\n'),
    headers: headersOf(codes),
    problem: route.errors === 'error-handler' ? null : problemSchema(status, codes)
  }))
}

function codesOf ({ settings, methods }: ProtectedRoute): ClientCode[] {
  const { required, fingerprint, onStoreError, onConflict } = settings
  const readsBody = fingerprint === undefined && [...methods].some(method => !BODYLESS.has(method))
  // If the store fails, a duplicate that waits for a running request is refused, even if `onStoreError` lets other
  // requests run unprotected.
  const needsStore = onStoreError === 'reject' || onConflict !== 'reject'
  return [
    ...(required ? ['FST_IDEMPOTENCY_KEY_MISSING'] as const : []),
    'FST_IDEMPOTENCY_KEY_INVALID',
    'FST_IDEMPOTENCY_IN_PROGRESS',
    'FST_IDEMPOTENCY_NOT_REPLAYABLE',
    'FST_IDEMPOTENCY_RECORD_UNREADABLE',
    ...(readsBody ? ['FST_IDEMPOTENCY_BODY_UNREADABLE'] as const : []),
    'FST_IDEMPOTENCY_KEY_REUSED',
    ...(needsStore ? ['FST_IDEMPOTENCY_STORE_UNAVAILABLE'] as const : [])
  ]
}

function headersOf (codes: ClientCode[]): Record<string, JsonSchema> {
  return {
    ...(codes.some(isRetryable) && {
      'Retry-After': {
        type: 'integer',
        minimum: 0,
        description: 'Seconds to wait before the request is sent again. Only where that can help.'
      }
    }),
    Link: { type: 'string', description: 'Where the problem is explained: `<…>; rel="describedby"`.' }
  }
}

function isRetryable (code: ClientCode): boolean {
  return new IdempotencyError(code, MEANINGS[code]).retryable
}

/** https://www.rfc-editor.org/rfc/rfc9457 */
function problemSchema (status: number, codes: ClientCode[]): JsonSchema {
  return {
    type: 'object',
    required: ['type', 'title', 'status', 'detail', 'code', 'retryable'],
    properties: {
      type: { type: 'string', format: 'uri', description: 'Where the problem is explained.' },
      title: { type: 'string' },
      status: { type: 'integer', enum: [status] },
      detail: { type: 'string' },
      code: { type: 'string', enum: codes },
      retryable: { type: 'boolean', description: 'Whether the same request, sent again as it is, can succeed.' },
      ...(codes.includes('FST_IDEMPOTENCY_NOT_REPLAYABLE') && {
        originalStatus: { type: 'integer', description: 'The status of the response that was not kept.' }
      })
    }
  }
}
