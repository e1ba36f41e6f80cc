import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { completing } from '../orders/complete.ts'
import { operationOf } from '../orders/operation.ts'
import { payOrder } from '../orders/pay.ts'
import type { Provider } from '../provider.ts'
import { Amount, Currency, OrderParams, ProblemAnswer, Uuid } from './schemas.ts'

const PayBody = Type.Object({
  method: Type.Union([Type.Literal('card'), Type.Literal('wallet')])
}, { additionalProperties: false })

const Receipt = Type.Object({
  orderId: Uuid,
  paymentId: Uuid,
  amount: Amount,
  currency: Currency,
  status: Type.Literal('paid'),
  paidAt: Type.String()
})

export const payRoute: FastifyPluginAsyncTypebox<{ provider: Provider }> = async (app, { provider }) => {
  app.post('/orders/:id/pay', {
    // By the time the handler runs, the plugin holds the key: no other request with it runs, here or elsewhere.
    // Should Redis have forgotten a key, the journal knows it before the provider is asked.
    config: { idempotency: { journalLookup: 'always' } },
    schema: { params: OrderParams, body: PayBody, response: { 200: Receipt, 402: ProblemAnswer } }
  }, async (request) => {
    const attempt = request.idempotency?.attempt ?? 1
    // An earlier attempt may or may not have charged. That is why `payOrder` asks before it charges.
    if (attempt > 1) request.log.warn({ attempt }, 'the outcome of an earlier attempt is not known')
    return payOrder(app.pg, provider, {
      orderId: request.params.id,
      customerId: request.customer.id,
      operation: operationOf(request),
      method: request.body.method,
      attempt
    }, completing(request))
  })
}
