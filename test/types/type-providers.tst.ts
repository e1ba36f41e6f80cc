import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts'
import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox, TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { describe, expect, test } from 'tstyche'
import idempotency, { MemoryStore } from '../../plugin/index.ts'
import type { RequestIdempotency } from '../../plugin/index.ts'

const options = { store: new MemoryStore(), scope: 'global' } as const
const schema = {
  params: Type.Object({ id: Type.String() }),
  querystring: Type.Object({ dry: Type.Optional(Type.Boolean()) }),
  headers: Type.Object({ 'x-trace': Type.String() }),
  body: Type.Object({ amount: Type.Integer(), method: Type.Union([Type.Literal('card'), Type.Literal('wallet')]) }),
  response: { 201: Type.Object({ paid: Type.Boolean() }) }
}

describe('the TypeBox type provider', () => {
  const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()

  test('takes the plugin, and stays', () => {
    expect(app.register).type.toBeCallableWith(idempotency, options)
    expect(app.register(idempotency, options).register(idempotency, options).withTypeProvider).type.toBe(
      app.withTypeProvider
    )
  })

  for (const protection of [true, { lease: 1_000 }]) {
    test('infers what a protected route is called with, and may answer', () => {
      app.post('/:id', { config: { idempotency: protection }, schema }, async (request, reply) => {
        expect(request.params).type.toBe<{ id: string }>()
        expect(request.query).type.toBe<{ dry?: boolean }>()
        expect(request.headers['x-trace']).type.toBe<string>()
        expect(request.body).type.toBe<{ amount: number, method: 'card' | 'wallet' }>()
        expect(request.idempotency).type.toBe<RequestIdempotency | null>()
        expect(reply.code(201).send).type.toBeCallableWith({ paid: true })
        expect(reply.code(201).send).type.not.toBeCallableWith({ paid: 'yes' })
        return reply.code(201).send({ paid: true })
      })
    })
  }

  test('infers in a plugin of the app’s too', () => {
    const routes: FastifyPluginAsyncTypebox = async (app) => {
      app.patch('/:id', { config: { idempotency: true }, schema }, async (request) => {
        expect(request.body.amount).type.toBe<number>()
        expect(request.idempotency?.attempt).type.toBe<number | undefined>()
        return { paid: true }
      })
    }
    expect(app.register).type.toBeCallableWith(routes)
  })
})

describe('the JSON schema type provider', () => {
  test('infers what a protected route is called with', () => {
    const app = Fastify().withTypeProvider<JsonSchemaToTsProvider>()
    app.post('/:id', {
      config: { idempotency: { onConflict: 'wait' } },
      schema: {
        params: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
        body: {
          type: 'object',
          required: ['amount', 'method'],
          properties: { amount: { type: 'integer' }, method: { enum: ['card', 'wallet'] } }
        }
      } as const
    }, async (request) => {
      expect(request.params.id).type.toBe<string>()
      expect(request.body.amount).type.toBe<number>()
      expect(request.body.method).type.toBe<'card' | 'wallet'>()
      expect(request.idempotency).type.toBe<RequestIdempotency | null>()
      return 'paid'
    })
  })
})

describe('generics of a route', () => {
  test('say what a protected route is called with', () => {
    const app = Fastify()
    app.post<{ Params: { id: string }, Body: { amount: number } }>(
      '/:id',
      { config: { idempotency: true } },
      async (request) => {
        expect(request.params).type.toBe<{ id: string }>()
        expect(request.body).type.toBe<{ amount: number }>()
        expect(request.routeOptions.config.idempotency).type.toBeAssignableFrom<boolean | undefined>()
        return 'paid'
      }
    )
  })
})
