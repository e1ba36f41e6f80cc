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
    // When the handler runs, this request owns the key: no other request with it runs, in any process. If Redis has
    // forgotten the key, the plugin finds it in the journal before the handler asks the provider.
    config: { idempotency: { journalLookup: 'always' } },
    schema: { params: OrderParams, body: PayBody, response: { 200: Receipt, 402: ProblemAnswer } }
  }, async (request) => {
    const attempt = request.idempotency?.attempt ?? 1
    // An earlier attempt may have charged, so `payOrder` queries the provider before it charges.
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
