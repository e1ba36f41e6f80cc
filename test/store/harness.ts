import { randomBytes } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { Test } from 'tap'
import { MemoryStore } from '../../plugin/store/memory.ts'
import { decode, OFFSET, STATE } from '../../plugin/store/record.ts'
import { RedisStore } from '../../plugin/store/redis.ts'
import type { Claim, Outcome, OwnedClaim, Store, StoredRecord } from '../../plugin/store/store.ts'
import { connectRedis, newPrefix } from '../helper.ts'

/** A fresh store, and what a test needs beyond its interface. */
export interface StoreUnderTest {
  store: Store
  /** The same records as another process sees them, where a store has other processes. */
  other: Store
  /** Lets `milliseconds` of the record's time pass, at once. */
  pass (id: string, milliseconds: number): Promise<void>
  /** Lets the lease of a running record run out, at once. */
  expireLease (id: string): Promise<void>
  /** Lets the record's time be over, at once: whether that is its retention or a Redis that lost it is the same. */
  expireRecord (id: string): Promise<void>
  /** What is stored, byte for byte where that can be seen; `null` if nothing is. */
  bytes (id: string): Promise<string | null>
  /** Whether the store knows by now that somebody waits for the key. */
  isAwaited (id: string): Promise<boolean>
}

export type MakeStore = (t: Test) => Promise<StoreUnderTest>

export interface RedisUnderTest extends StoreUnderTest {
  redis: Redis
  keyPrefix: string
}

/** Two stores on two clients of the tests' Redis. Time passes by shortening the TTL, which leases are measured by. */
export async function redisUnderTest (t: Test, options: Parameters<typeof connectRedis>[1] = {}): Promise<RedisUnderTest> {
  const keyPrefix = newPrefix()
  // A plain client cleans up: it sees the keys by their whole names.
  const cleaner = connectRedis(t, { prefix: `${options.keyPrefix ?? ''}${keyPrefix}` })
  await cleaner.ping()
  const redis = connectRedis(t, options)
  const store = openStore(t, redis, keyPrefix)
  const other = openStore(t, connectRedis(t, options), keyPrefix)
  return { store, other, redis, keyPrefix, ...timeOf(redis, keyPrefix) }
}

export function openStore (t: Test, redis: Redis | Cluster, keyPrefix: string, connectTimeout = 15_000): RedisStore {
  const store = new RedisStore(redis, { keyPrefix, connectTimeout })
  t.teardown(() => store.close())
  return store
}

export function timeOf (redis: Redis | Cluster, keyPrefix: string): Omit<StoreUnderTest, 'store' | 'other'> {
  return {
    async pass (id, milliseconds) {
      await redis.pexpire(keyPrefix + id, await redis.pttl(keyPrefix + id) - milliseconds)
    },
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
    async bytes (id) {
      return await redis.getBuffer(keyPrefix + id).then(value => value?.toString('hex') ?? null)
    },
    async isAwaited (id) {
      const value = await redis.getBuffer(keyPrefix + id)
      return value?.toString('latin1', OFFSET.state, OFFSET.state + 1) === STATE.awaited
    }
  }
}

/** The clock of the whole process, until the test ends: it goes on as it does, and can be put forward. */
export function putClockForward (t: Test): (milliseconds: number) => void {
  const now = performance.now.bind(performance)
  let ahead = 0
  Object.defineProperty(performance, 'now', { value: () => now() + ahead, configurable: true })
  t.teardown(() => { Reflect.deleteProperty(performance, 'now') })
  return (milliseconds) => { ahead += milliseconds }
}

export async function memoryUnderTest (t: Test): Promise<StoreUnderTest> {
  return memoryOn(putClockForward(t))
}

export function memoryOn (forward: (milliseconds: number) => void): StoreUnderTest {
  const store = new MemoryStore()
  return {
    store,
    other: store,
    async pass (_id, milliseconds) {
      forward(milliseconds)
    },
    async expireLease (id) {
      forward((await store.find(id))?.leaseLeft ?? 0)
    },
    async expireRecord (id) {
      forward((await store.find(id))?.expiresIn ?? 0)
    },
    async bytes () {
      return null
    },
    async isAwaited () {
      // Who calls `wait` waits by the time that it returns its promise, and who claims is answered a few ticks later.
      await new Promise(setImmediate)
      return true
    }
  }
}

export const ID = 'the-record'
export const LEASE = 30_000
export const RETENTION = 600_000

/** The SHA-256 of one request and of another. */
export const ONE_REQUEST = Buffer.alloc(32, 0xf1).toString('base64url')
export const ANOTHER_REQUEST = Buffer.alloc(32, 0x0e).toString('base64url')

export function newOwner (): string {
  return randomBytes(9).toString('hex')
}

export function aClaim (claim: Partial<Claim> = {}): Claim {
  return { owner: newOwner(), fingerprint: ONE_REQUEST, lease: LEASE, retention: RETENTION, ...claim }
}

/** Claims the key, and gives what its owner completes or releases it with. Rejects if it is not granted. */
export async function own (store: Store, claim: Claim = aClaim(), id = ID): Promise<OwnedClaim> {
  const result = await store.claim(id, claim)
  if (result.state !== 'claimed') throw new Error(`the key is not granted: ${result.state}`)
  return { ...claim, attempt: result.attempt }
}

export function anOutcome (body: string | Buffer = '{"paid":true}', statusCode = 201): Outcome {
  return { statusCode, response: { headers: [['content-type', 'application/json']], body: Buffer.from(body) } }
}

/** Takes a picture of the record; the promised check says that it is the same one, with no more time than then. */
export async function keepsAsItIs (t: Test, under: StoreUnderTest, id = ID): Promise<() => Promise<void>> {
  // So that a time that is set anew would be seen.
  await under.pass(id, 5_000)
  const bytes = await under.bytes(id)
  const before = await under.store.find(id)
  return async () => {
    const after = await under.store.find(id)
    t.strictSame(withoutTime(after), withoutTime(before), 'the record is untouched')
    t.equal(await under.bytes(id), bytes, 'byte for byte')
    t.ok((after?.expiresIn ?? 0) <= (before?.expiresIn ?? 0), 'it is not kept for longer')
    t.ok((after?.leaseLeft ?? 0) <= (before?.leaseLeft ?? 0), 'its lease is not longer')
  }
}

function withoutTime (record: StoredRecord | null): Omit<StoredRecord, 'expiresIn' | 'leaseLeft'> | null {
  if (record === null) return null
  const { state, attempt, outcome } = record
  return { state, attempt, outcome }
}

/** `milliseconds` of a time that began with `full` and of which `passed` are over, give or take a slow machine. */
export function isAbout (t: Test, milliseconds: number | null | undefined, full: number, passed = 0, what = 'the time left'): void {
  const left = full - passed
  const inRange = typeof milliseconds === 'number' && milliseconds <= left && milliseconds > left - 4_000
  t.ok(inRange, `${what} is ${left} ms or a little less, got ${String(milliseconds)}`)
}

/** A record that is not settled is remembered for its retention, and may be for as long as its lease besides. */
export function isRemembered (t: Test, found: StoredRecord | null, passed = 0): void {
  const expiresIn = found?.expiresIn ?? 0
  t.ok(expiresIn > RETENTION - passed - 4_000 && expiresIn <= RETENTION + LEASE - passed, `remembered for the retention, got ${expiresIn}`)
}

export type StateOfRecord = 'running' | 'running out of lease' | 'released' | 'settled'
export const STATES: StateOfRecord[] = ['running', 'running out of lease', 'released', 'settled']

/** Brings the record into a state, and gives its owner. */
export async function bringTo (state: StateOfRecord, under: StoreUnderTest): Promise<OwnedClaim> {
  const owned = await own(under.store)
  switch (state) {
    case 'running':
      break
    case 'running out of lease':
      await under.expireLease(ID)
      break
    case 'released':
      await under.store.release(ID, owned)
      break
    case 'settled':
      await under.store.complete(ID, owned, anOutcome())
  }
  return owned
}
