import Fastify from 'fastify'
import type { FastifyRequest } from 'fastify'
import { describe, expect, test } from 'tstyche'
import { IdempotencyError } from '../../plugin/index.ts'
import type {
  FoundRecord,
  Idempotency,
  IdempotencyErrorCode,
  IdempotencyStats,
  Queryable,
  RequestIdempotency
} from '../../plugin/index.ts'

const app = Fastify()

describe('request.idempotency', () => {
  test('has to be looked at before it is used: the request may not be protected', () => {
    expect<FastifyRequest['idempotency']>().type.toBe<RequestIdempotency | null>()
    app.post('/', async (request) => {
      expect(request.idempotency).type.toBe<RequestIdempotency | null>()
      expect(request.idempotency?.attempt).type.toBe<number | undefined>()
      // @ts-expect-error 'request.idempotency' is possibly 'null'
      return request.idempotency.attempt
    })
  })

  const own = {} as RequestIdempotency

  test('tells what it is, and lets nobody change it', () => {
    expect<Pick<RequestIdempotency, 'key' | 'scope' | 'attempt' | 'replayed' | 'signal'>>().type.toBe<{
      readonly key: string
      readonly scope: string
      readonly attempt: number
      readonly replayed: boolean
      readonly signal: AbortSignal
    }>()
    // @ts-expect-error Cannot assign to 'attempt' because it is a read-only property
    own.attempt = 2
    expect(own.release()).type.toBe<void>()
    expect(own).type.not.toHaveProperty('fingerprint')
  })

  test('resolves to the body that was stored in the transaction', () => {
    const tx = {} as Queryable
    expect(own.complete(tx, { statusCode: 201, headers: { location: '/orders/1' }, body: { paid: true } })).type.toBe<
      Promise<{ paid: boolean }>
    >()
    expect(own.complete(tx, {})).type.toBe<Promise<undefined>>()
    expect(own.complete).type.not.toBeCallableWith({ body: 'no transaction' })
    expect(own.complete).type.not.toBeCallableWith({ execute: async () => [] }, { body: 'no query' })
    expect(own.complete).type.not.toBeCallableWith(tx, { statusCode: '201' })
  })
})

describe('app.idempotency', () => {
  test('is an operator’s look and eraser', () => {
    expect(app.idempotency).type.toBe<Idempotency>()
    expect(app.idempotency.find(7, 7)).type.toBe<Promise<FoundRecord | null>>()
    expect(app.idempotency.forget('key', 'customer')).type.toBe<Promise<boolean>>()
    expect(app.idempotency.stats()).type.toBe<IdempotencyStats>()
    expect(app.idempotency.stats().claimed).type.toBe<number>()
  })

  test('asks for the scope: a key alone names nothing', () => {
    expect(app.idempotency.find).type.not.toBeCallableWith('key')
    expect(app.idempotency.forget).type.not.toBeCallableWith('key')
    expect(app.idempotency.forget).type.not.toBeCallableWith('key', {})
  })
})

describe('an error that an error handler gets', () => {
  test('is told by its class, and says which one it is', () => {
    app.setErrorHandler((error) => {
      if (!(error instanceof IdempotencyError)) return
      expect(error.code).type.toBe<IdempotencyErrorCode>()
      expect(error.retryable).type.toBe<boolean>()
      expect(error.originalStatus).type.toBe<number | undefined>()
    })
    expect<'FST_IDEMPOTENCY_IN_PROGRESS'>().type.toBeAssignableTo<IdempotencyErrorCode>()
    expect<'FST_IDEMPOTENCY_BUSY'>().type.not.toBeAssignableTo<IdempotencyErrorCode>()
  })
})
