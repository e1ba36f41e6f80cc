import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { createOrder } from '../orders/create.ts'
import { operationOf } from '../orders/operation.ts'
import { findOrder } from '../orders/store.ts'
import type { Order } from '../orders/store.ts'
import { orderNotFound } from '../orders/transaction.ts'
import { Amount, Currency, OrderAnswer, OrderParams } from './schemas.ts'

const CreateBody = Type.Object({
  amount: Amount,
  currency: Currency,
  reference: Type.Optional(Type.String({ minLength: 1, maxLength: 140 }))
}, { additionalProperties: false })

export const orderRoutes: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/orders', {
    config: { idempotency: true },
    schema: { body: CreateBody, response: { 201: OrderAnswer } }
  }, async (request, reply) => {
    const { amount, currency, reference = null } = request.body
    const order = await createOrder(app.pg, {
      customerId: request.customer.id, operation: operationOf(request), amount, currency, reference
    })
    return reply.code(201).header('location', `/orders/${order.id}`).send(answerOf(order))
  })

  app.get('/orders/:id', {
    schema: { params: OrderParams, response: { 200: OrderAnswer } }
  }, async (request) => {
    const order = await findOrder(app.pg, { orderId: request.params.id, customerId: request.customer.id })
    if (order === null) throw orderNotFound()
    return answerOf(order)
  })
}

function answerOf (order: Order) {
  return { ...order, createdAt: order.createdAt.toISOString() }
}
