import type { Cluster, Redis } from 'ioredis'
import type { Test } from 'tap'
import { recordId } from '../../plugin/core/record-id.ts'
import { aClaim, own as ownId } from '../../plugin/store-contract/fixtures.ts'
import type { StoresUnderTest } from '../../plugin/store-contract/index.ts'
import { MemoryStore } from '../../plugin/store/memory.ts'
import { decode, OFFSET, RECORD_VERSION, STATE } from '../../plugin/store/record.ts'
import { RedisStore } from '../../plugin/store/redis.ts'
import type { RedisStoreOptions } from '../../plugin/store/redis.ts'
import type { Claim, OwnedClaim, Store } from '../../plugin/store/store.ts'
import { connectRedis, newPrefix, until } from '../helper.ts'

export { putClockForward } from '../clock.ts'
export { methodsOf } from './methods.ts'
export type { StoreMethods } from './methods.ts'
export { aClaim, ANOTHER_REQUEST, anOutcome, ONE_REQUEST, RETENTION } from '../../plugin/store-contract/fixtures.ts'

/** A new store, and what this package's own tests need beyond the contract. */
export interface StoreUnderTest extends StoresUnderTest {
  /** Lets the lease of a running record run out, at once. */
  expireLease (id: string): Promise<void>
  /** Ends the time of the record, at once: the end of its retention and a Redis that lost it look the same. */
  expireRecord (id: string): Promise<void>
  stored (id: string): Promise<string | null>
}

export type RedisView = Omit<Required<StoreUnderTest>, 'store' | 'other'>

export interface RedisUnderTest extends Required<StoreUnderTest> {
  redis: Redis
  keyPrefix: string
}

type RedisSettings =
  NonNullable<Parameters<typeof connectRedis>[1]> & Pick<RedisStoreOptions, 'recordVersion' | 'compress'>

/** Two stores on two clients of the tests' Redis. */
export async function redisUnderTest (t: Test, settings: RedisSettings = {}): Promise<RedisUnderTest> {
  const { recordVersion = RECORD_VERSION, compress = false, ...options } = settings
  const keyPrefix = newPrefix()
  // A client without a prefix cleans up: it sees the whole names of the keys.
  const cleaner = connectRedis(t, { prefix: `${options.keyPrefix ?? ''}${keyPrefix}` })
  await cleaner.ping()
  const redis = connectRedis(t, options)
  const store = openStore(t, redis, keyPrefix, { recordVersion, compress })
  const other = openStore(t, connectRedis(t, options), keyPrefix, { recordVersion, compress })
  return { store, other, redis, keyPrefix, ...viewOf(redis, keyPrefix) }
}

export function openStore (
  t: Test,
  redis: Redis | Cluster,
  keyPrefix: string,
  options: Partial<RedisStoreOptions> = {}
): RedisStore {
  const store = new RedisStore(redis, { keyPrefix, connectTimeout: 120_000, ...options })
  t.teardown(() => store.close())
  return store
}

/** What Redis contains, read past the store. A lease is ended by shortening the TTL, which leases are measured by. */
export function viewOf (redis: Redis | Cluster, keyPrefix: string): RedisView {
  return {
    async expireLease (id) {
      const value = await redis.getBuffer(keyPrefix + id)
      if (value === null) throw new Error('there is no record whose lease could run out')
      const found = decode(value)
      if (found.state !== 'running') throw new Error(`a record that is ${found.state} has no lease`)
      await redis.pexpire(keyPrefix + id, found.timeToLive - found.lease)
    },
    async expireRecord (id) {
      await redis.del(keyPrefix + id)
    },
    async stored (id) {
      return await redis.getBuffer(keyPrefix + id).then(value => value?.toString('hex') ?? null)
    },
    async isAwaited (id) {
      const value = await redis.getBuffer(keyPrefix + id)
      return value?.toString('latin1', OFFSET.state, OFFSET.state + 1) === STATE.awaited
    }
  }
}

export function memoryOn (forward: (milliseconds: number) => void): StoreUnderTest {
  const store = new MemoryStore()
  return {
    store,
    other: store,
    async expireLease (id) {
      forward((await store.find(id))?.leaseLeft ?? 0)
    },
    async expireRecord (id) {
      forward((await store.find(id))?.expiresIn ?? 0)
    },
    async stored () {
      return null
    }
  }
}

export const ID = recordId('global', 'the key')

/** Claims the key, and returns what its owner completes or releases it with. Rejects if the claim is not granted. */
export function own (store: Store, claim: Claim = aClaim(), id = ID): Promise<OwnedClaim> {
  return ownId(store, id, claim)
}

/** For a waiter that waits until it is woken. */
export function never (): AbortSignal {
  return new AbortController().signal
}

/** Asserts that this is what is left of `full` ms that began just now, with a tolerance for a slow machine. */
export function isAbout (t: Test, milliseconds: number | null | undefined, full: number): void {
  const inRange = typeof milliseconds === 'number' && milliseconds <= full && milliseconds > full - 120_000
  t.ok(inRange, `the time left is ${full} ms or a little less, got ${String(milliseconds)}`)
}

/**
 * Has somebody wait for a key, until the store has been told of it. Once more, as those do who want the key, where a
 * machine took so long to subscribe that the wait ended.
 * @returns resolves when the wait has ended
 */
export async function waitFor (
  wait: () => Promise<void>,
  isAwaited: () => Promise<boolean>
): Promise<{ ended: Promise<void> }> {
  for (;;) {
    let hasEnded = false
    const ended = wait().finally(() => { hasEnded = true })
    await until(async () => hasEnded || await isAwaited(), 'who waits is noted')
    if (!hasEnded) return { ended }
  }
}
