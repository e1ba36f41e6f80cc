import Fastify from 'fastify'
import type { FastifyRequest } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis-5'
import { Cluster as ValkeyCluster, Redis as Valkey } from 'iovalkey'
import { describe, expect, test } from 'tstyche'
import idempotency, { idempotency as named, MemoryStore } from '../../plugin/index.ts'
import type { CompressOptions, IdempotencyOptions, RouteIdempotencyOptions, Scope } from '../../plugin/index.ts'

const app = Fastify()
const store = new MemoryStore()
const handler = async () => 'done'

describe('the options of the plugin', () => {
  test('registering takes a store or a client of ioredis, and a scope', () => {
    expect(app.register).type.toBeCallableWith(idempotency, { store, scope: 'global' })
    expect(app.register).type.toBeCallableWith(idempotency, {
      redis: new Redis(),
      scope: (request: FastifyRequest) => request.ip
    })
    expect(app.register).type.toBeCallableWith(idempotency, { redis: new Cluster([]), scope: () => 7 })
    expect(named).type.toBe(idempotency)
  })

  test('a client may be one of ioredis 5 or iovalkey', () => {
    expect(app.register).type.toBeCallableWith(idempotency, { redis: new Redis5(), scope: 'global' })
    expect(app.register).type.toBeCallableWith(idempotency, { redis: new Cluster5([]), scope: 'global' })
    expect(app.register).type.toBeCallableWith(idempotency, { redis: new Valkey(), scope: 'global' })
    expect(app.register).type.toBeCallableWith(idempotency, { redis: new ValkeyCluster([]), scope: 'global' })
  })

  test('registering does not go without a scope', () => {
    expect(app.register).type.not.toBeCallableWith(idempotency, { store })
    expect(app.register).type.not.toBeCallableWith(idempotency)
    expect<{ store: MemoryStore }>().type.not.toBeAssignableTo<IdempotencyOptions>()
  })

  test('what is known of a request can be used as its scope', () => {
    expect<Scope>().type.toBe<
      'global' | ((request: FastifyRequest) => string | number | PromiseLike<string | number>)
    >()
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'customer' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: () => undefined })
    expect(app.register).type.toBeCallableWith(idempotency, { store, scope: async () => 'customer' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: async () => undefined })
  })

  test('all of them are known by name and type', () => {
    expect<IdempotencyOptions>().type.toBeAssignableFrom({
      scope: 'global' as const,
      store,
      global: true,
      header: 'x-key',
      key: (request: FastifyRequest) => request.id,
      required: false,
      validateKey: (key: string) => key.length === 36,
      fingerprint: () => Buffer.from('same'),
      retention: 1_000,
      lease: 1_000,
      maxExecution: 1_000,
      onConflict: 'wait' as const,
      waitTimeout: 1_000,
      maxWaiters: 100,
      replayCache: { maxSize: 1_048_576, maxAge: 1_000 },
      maxWaitersPerKey: 10,
      retryAfter: 1,
      onStoreError: 'bypass' as const,
      storeTimeout: 1_000,
      closeTimeout: 10_000,
      replayable: (statusCode: number) => statusCode < 400,
      maxBodySize: 1_024,
      journal: false as const,
      excludeHeaders: ['x-trace'] as const,
      errors: 'error-handler' as const,
      docsUrl: 'https://example.com/docs',
      recordVersion: 1 as const,
      compress: { minSize: 10_000, algorithm: 'brotli' as const },
      keyPrefix: 'shop:'
    })
    expect<IdempotencyOptions['onConflict']>().type.toBe<'auto' | 'wait' | 'reject' | undefined>()
    expect<IdempotencyOptions['recordVersion']>().type.toBe<1 | 2 | undefined>()
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'global', leese: 1_000 })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'global', lease: '30s' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'global', onConflict: 'queue' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'global', recordVersion: 3 })
    expect<IdempotencyOptions['compress']>().type.toBe<boolean | CompressOptions | undefined>()
    expect<CompressOptions['algorithm']>().type.toBe<'brotli' | 'zstd' | undefined>()
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'global', compress: 'zstd' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { store, scope: 'global', errors: 'json' })
    expect(app.register).type.not.toBeCallableWith(idempotency, { redis: {}, scope: 'global' })
  })
})

describe('the options of a route', () => {
  test('a route says yes, no, or what is different for it', () => {
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: true } }, handler)
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: false } }, handler)
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: { lease: 5_000, scope: 'global' } } }, handler)
    expect(app.route).type.toBeCallableWith({
      method: 'POST',
      url: '/',
      handler,
      config: { idempotency: { required: false } }
    })
    const waiters = { onConflict: 'auto', maxWaitersPerKey: 5 } as const
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: waiters } }, handler)
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: 'yes' } }, handler)
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: { lease: 'long' } } }, handler)
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: () => true } }, handler)
  })

  test('a name that does not exist is seen where the options have their type', () => {
    // @ts-expect-error 'leese' does not exist in type 'RouteIdempotencyOptions'
    const options: RouteIdempotencyOptions = { leese: 1 }
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: options } }, handler)
    // Fastify infers the config of a route from where it is written. This one rejects when the app is made ready.
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: { leese: 1 } } }, handler)
  })

  test('what holds for the whole plugin cannot differ by route', () => {
    expect<Exclude<keyof IdempotencyOptions, keyof RouteIdempotencyOptions>>().type.toBe<
      'redis' | 'store' | 'global' | 'storeTimeout' | 'replayCache' | 'maxWaiters' | 'closeTimeout' | 'errors' |
      'docsUrl' | 'recordVersion' | 'redisChecks' | 'compress' | 'keyPrefix'
    >()
  })

  test('its functions know the request, and what they have to return', () => {
    expect<RouteIdempotencyOptions['key']>().type.toBe<
      ((request: FastifyRequest) => string | number | undefined | PromiseLike<string | number | undefined>) | undefined
    >()
    expect<RouteIdempotencyOptions['fingerprint']>().type.toBe<
      ((request: FastifyRequest) => string | Uint8Array | PromiseLike<string | Uint8Array>) | undefined
    >()
    expect<RouteIdempotencyOptions['validateKey']>().type.toBe<
      ((key: string) => boolean | PromiseLike<boolean>) | undefined
    >()
    const promising = {
      key: async () => 7,
      validateKey: async () => true,
      fingerprint: async () => Buffer.from('same')
    }
    expect(app.post).type.toBeCallableWith('/', { config: { idempotency: promising } }, handler)
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: { key: () => null } } }, handler)
    expect(app.post).type.not.toBeCallableWith(
      '/',
      { config: { idempotency: { validateKey: async () => 1 } } },
      handler
    )
    expect(app.post).type.not.toBeCallableWith(
      '/',
      { config: { idempotency: { fingerprint: async () => 7 } } },
      handler
    )
    expect(app.post).type.not.toBeCallableWith('/', { config: { idempotency: { fingerprint: () => ({}) } } }, handler)
    expect(app.post).type.not.toBeCallableWith(
      '/',
      { config: { idempotency: { validateKey: (key: number) => key > 0 } } },
      handler
    )
  })
})
