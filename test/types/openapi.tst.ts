import swagger from '@fastify/swagger'
import type { SwaggerTransform } from '@fastify/swagger'
import Fastify from 'fastify'
import { describe, expect, test } from 'tstyche'
import { idempotencyTransform } from '../../plugin/openapi/transform.ts'

describe('idempotencyTransform', () => {
  const app = Fastify()
  const own: SwaggerTransform = ({ schema, url }) => ({ schema: { ...schema, summary: url }, url })

  test('is what @fastify/swagger takes as a transform', () => {
    expect(idempotencyTransform()).type.toBe<SwaggerTransform>()
    expect(app.register).type.toBeCallableWith(swagger, { openapi: {}, transform: idempotencyTransform() })
    expect(app.post).type.toBeCallableWith(
      '/',
      { config: { idempotency: true, swaggerTransform: idempotencyTransform(own) } },
      async () => 'done'
    )
  })

  test('takes the app’s own transform, and nothing else', () => {
    expect(idempotencyTransform).type.toBeCallableWith(own)
    expect(idempotencyTransform).type.toBeCallableWith(idempotencyTransform())
    expect(idempotencyTransform).type.not.toBeCallableWith({ transform: own })
    expect(idempotencyTransform).type.not.toBeCallableWith(() => 'done')
  })
})
