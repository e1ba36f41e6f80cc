import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { completing } from '../orders/complete.ts'
import { operationOf } from '../orders/operation.ts'
import { refundOrder } from '../orders/refund.ts'
import type { Provider } from '../provider.ts'
import { Amount, Currency, OrderParams, ProblemAnswer, Text, Uuid } from './schemas.ts'

const RefundBody = Type.Object({
  reason: Type.Optional(Text)
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

export const refundRoute: FastifyPluginAsyncTypebox<{ provider: Provider }> = async (app, { provider }) => {
  app.post('/orders/:id/refund', {
    config: { idempotency: { journalLookup: 'always' } },
    schema: { params: OrderParams, body: RefundBody, response: { 200: Refund, 402: ProblemAnswer } }
  }, async (request) => refundOrder(app.pg, provider, {
    orderId: request.params.id,
    customerId: request.customer.id,
    operation: operationOf(request),
    reason: request.body.reason ?? null,
    attempt: request.idempotency?.attempt ?? 1
  }, completing(request)))
}
