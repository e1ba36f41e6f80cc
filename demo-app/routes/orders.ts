import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { completing } from '../orders/complete.ts'
import { answerOf, createOrder } from '../orders/create.ts'
import { operationOf } from '../orders/operation.ts'
import { findOrder } from '../orders/store.ts'
import { orderNotFound } from '../orders/transaction.ts'
import { Amount, Currency, OrderAnswer, OrderParams, Text } from './schemas.ts'

const CreateBody = Type.Object({
  amount: Amount,
  currency: Currency,
  reference: Type.Optional(Text)
}, { additionalProperties: false })

export const orderRoutes: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/orders', {
    config: { idempotency: true },
    schema: { body: CreateBody, response: { 201: OrderAnswer } }
  }, async (request) => {
    const { amount, currency, reference = null } = request.body
    return createOrder(app.pg, {
      customerId: request.customer.id, operation: operationOf(request), amount, currency, reference
    }, completing(request))
  })

  app.get('/orders/:id', {
    schema: { params: OrderParams, response: { 200: OrderAnswer } }
  }, async (request) => {
    const order = await findOrder(app.pg, { orderId: request.params.id, customerId: request.customer.id })
    if (order === null) throw orderNotFound()
    return answerOf(order)
  })
}
