import fp from 'fastify-plugin'
import { plugin } from './plugin.ts'

/**
 * Caches responses by `Idempotency-Key` behind a lease per key, and replays them to duplicate requests.
 *
 * ```ts
 * await app.register(idempotency, { redis, scope: (request) => request.user.id })
 * app.post('/orders/:id/pay', { config: { idempotency: true } }, handler)
 * ```
 */
const idempotency = fp(plugin, { fastify: '5.x', name: 'fastify-idempotency' })

export default idempotency
export { idempotency }
export { IdempotencyError, IdempotencyOptionError, LeaseLostError, StoreTimeoutError } from './errors.ts'
export type { IdempotencyErrorCode } from './errors.ts'
export { canonicalJson } from './core/canonical-json.ts'
export type {
  IdempotencyEvent,
  IdempotencyEvents,
  IdempotencyOutcomeEvent,
  IdempotencyReplayEvent,
  IdempotencyStoreFailureEvent
} from './observe/channels.ts'
export { MemoryStore } from './store/memory.ts'
export type { MemoryStoreOptions } from './store/memory.ts'
export { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from './store/store.ts'
export type { Claim, ClaimResult, KeptResponse, Outcome, OwnedClaim, Store, StoredRecord } from './store/store.ts'
export type { Journal, JournalEntry, Queryable } from './journal/journal.ts'
export type { RedisClient, RedisSubscriber } from './store/redis.ts'
export type {
  CompressOptions,
  FoundRecord,
  Idempotency,
  IdempotencyOptions,
  IdempotencyStats,
  JournalledAnswer,
  Operation,
  ReplayCacheOptions,
  RequestIdempotency,
  RouteIdempotencyOptions,
  SanitizableResponse,
  SanitizedResponse,
  Scope,
  WorkContext
} from './types.ts'
