import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Books } from './books.ts'
import { found } from './errors.ts'
import { after, before } from './misbehave.ts'
import { ByNumber, RefundBody } from './schemas.ts'

export const refundRoutes: FastifyPluginAsyncTypebox<Books> = async (app, { ledger, faults, notifier, closing }) => {
  app.post('/v1/refunds', { schema: { body: RefundBody } }, async (request) => {
    const { number, chargeNumber, amount, notifyUrl } = request.body
    const fault = faults.strike('refund', number)
    await before(fault, closing)
    const { refund, isNew } = ledger.refund({ number, chargeNumber, amount })
    if (isNew && notifyUrl !== undefined) {
      notifier.notify(notifyUrl, {
        notify_type: 'refund',
        out_trade_no: number,
        trade_no: refund.tradeNo,
        amount: String(amount),
        currency: ledger.charges.get(chargeNumber)?.currency ?? '',
        status: refund.status
      })
    }
    await after(fault, closing)
    return refund
  })

  app.get('/v1/refunds/:number', { schema: { params: ByNumber } }, async (request) => {
    const { number } = request.params
    await before(faults.strike('query', number), closing)
    return found(ledger.refunds.get(number))
  })
}
