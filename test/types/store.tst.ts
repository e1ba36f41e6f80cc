import Fastify from 'fastify'
import pg from 'pg'
import { describe, expect, test } from 'tstyche'
import idempotency, { MemoryStore } from '../../plugin/index.ts'
import type { ClaimResult, Journal, Outcome, RedisClient, Store, StoredRecord } from '../../plugin/index.ts'
import { postgresJournal } from '../../plugin/journal/postgres.ts'
import type { PostgresJournal } from '../../plugin/journal/postgres.ts'

const app = Fastify()
const memory = new MemoryStore()

/** Everything that a store needs, with only the type imported. */
const custom: Store = {
  async claim (id, { owner, fingerprint, lease, retention }) {
    expect(id).type.toBe<string>()
    expect({ owner, fingerprint }).type.toBe<{ owner: string, fingerprint: string }>()
    expect(lease + retention).type.toBe<number>()
    return { state: 'claimed', attempt: 1 }
  },
  async renew (_id, { attempt }) { return attempt > 0 },
  async complete (_id, _owned, { response }) { return response === null },
  async release () { return true },
  async withdraw (_id, { takeOver }) { return takeOver },
  async markLeft (_id, { attempt }) { return attempt > 0 },
  async wait (_id, timeout, signal) {
    expect(timeout).type.toBe<number>()
    expect(signal).type.toBe<AbortSignal>()
  },
  async find () { return null },
  async forget () { return false }
}

describe('a custom store', () => {
  test('is whatever has the methods of one', () => {
    expect(app.register).type.toBeCallableWith(idempotency, { store: custom, scope: 'global' })
    expect<typeof custom.find>().type.toBe<(id: string) => Promise<StoredRecord | null>>()
  })

  test('has all of them', () => {
    const { forget: _forget, ...withoutForget } = custom
    expect(withoutForget).type.not.toBeAssignableTo<Store>()
    expect(app.register).type.not.toBeCallableWith(idempotency, { store: withoutForget, scope: 'global' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store: new Map(), scope: 'global' })
  })

  test('answers a claim in one of four ways', () => {
    expect<ClaimResult['state']>().type.toBe<'claimed' | 'running' | 'settled' | 'mismatch'>()
    expect<ClaimResult>().type.toBeAssignableFrom<{ state: 'settled', attempt: number, outcome: Outcome }>()
    expect<ClaimResult>().type.toBeAssignableFrom<{ state: 'running', leaseLeft: number, ownerLeft: boolean }>()
    expect<ClaimResult>().type.not.toBeAssignableFrom<{ state: 'running' }>()
    expect<Store['claim']>().type.not.toBeAssignableFrom(async () => true)
    expect<Store['claim']>().type.not.toBeAssignableFrom(() => ({ state: 'claimed', attempt: 1 }) as const)
  })
})

describe('the stores that come with the plugin', () => {
  test('one in memory, whose size is bounded', () => {
    expect(memory).type.toBeAssignableTo<Store>()
    expect(MemoryStore).type.toBeConstructableWith()
    expect(MemoryStore).type.toBeConstructableWith({ maxSize: 1_024 })
    expect(MemoryStore).type.not.toBeConstructableWith({ maxSize: '64MiB' })
    expect(MemoryStore).type.not.toBeConstructableWith({ size: 1_024 })
  })

  test('a store is not a client, and a client not a store', () => {
    expect(memory).type.not.toBeAssignableTo<RedisClient>()
    expect<RedisClient>().type.not.toBeAssignableTo<Store>()
  })
})

describe('a journal', () => {
  const pool = new pg.Pool()

  test('of Postgres takes what can be queried, and its own options', () => {
    expect(postgresJournal(pool)).type.toBe<PostgresJournal>()
    expect<PostgresJournal>().type.toBeAssignableTo<Journal>()
    expect(postgresJournal).type.toBeCallableWith(pool, { table: 'payments.journal', purgeInterval: 0 })
    expect(postgresJournal).type.not.toBeCallableWith(pool, { tabel: 'journal' })
    expect(postgresJournal).type.not.toBeCallableWith('postgres://localhost')
  })

  test('can be that of the whole plugin or of a route, which can also go without', () => {
    const journal = postgresJournal(pool)
    expect(app.register).type.toBeCallableWith(idempotency, { store: memory, scope: 'global', journal })
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: { journal } } }, async () => 'done')
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: { journal: false } } }, async () => 'done')
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: { journal: true } } }, async () => 'done')
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: { journal: pool } } }, async () => 'done')
  })

  test('is completed with a client of the app’s own database driver', () => {
    app.post('/', { config: { idempotency: { journal: postgresJournal(pool) } } }, async (request) => {
      const client = await pool.connect()
      expect(request.idempotency?.complete(client, { body: { paid: true } })).type.toBe<
        Promise<{ paid: boolean }> | undefined
      >()
    })
  })
})
