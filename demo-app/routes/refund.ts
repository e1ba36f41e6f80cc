import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { operationOf } from '../orders/operation.ts'
import { refundOrder } from '../orders/refund.ts'
import { Amount, Currency, OrderParams, Uuid } from './schemas.ts'

const RefundBody = Type.Object({
  reason: Type.Optional(Type.String({ minLength: 1, maxLength: 140 }))
}, { additionalProperties: false })

const Refund = Type.Object({
  orderId: Uuid,
  refundId: Uuid,
  amount: Amount,
  currency: Currency,
  status: Type.Literal('refunded'),
  reason: Type.Union([Type.String(), Type.Null()]),
  refundedAt: Type.String()
})

export const refundRoute: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/orders/:id/refund', {
    config: { idempotency: true },
    schema: { params: OrderParams, body: RefundBody, response: { 200: Refund } }
  }, async (request) => refundOrder(app.pg, {
    orderId: request.params.id,
    customerId: request.customer.id,
    operation: operationOf(request),
    reason: request.body.reason ?? null
  }))
}
