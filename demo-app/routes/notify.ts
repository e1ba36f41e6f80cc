import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { completing } from '../orders/complete.ts'
import { findPaymentByNumber } from '../orders/payments.ts'
import { settle } from '../orders/settle.ts'
import { Problem } from '../problems.ts'
import type { Provider } from '../provider.ts'
import { isSigned } from '../signature.ts'
import { Uuid } from './schemas.ts'

/** A notification may have further fields. The signature covers all of them. */
const Notification = Type.Object({
  // The characters that a key may have.
  notify_id: Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' }),
  out_trade_no: Uuid,
  trade_no: Type.String({ maxLength: 128, 'x-storable': true }),
  amount: Type.String({ pattern: '^[0-9]{1,16}$' }),
  status: Type.Union(['charged', 'declined', 'refunded', 'refused'].map(status => Type.Literal(status))),
  sign: Type.String({ maxLength: 1024 })
}, { additionalProperties: Type.String() })

const VERDICTS: Record<string, 'done' | 'declined'> = {
  charged: 'done',
  refunded: 'done',
  declined: 'declined',
  refused: 'declined'
}

/**
 * The route for the provider's notifications, which the provider repeats until the answer is `success`. They have no
 * header with a key. Their id serves as the key, so the app applies each notification once and replays its answer to
 * each repetition.
 */
export const notifyRoute: FastifyPluginAsyncTypebox<{ provider: Provider }> = async (app, { provider }) => {
  app.post('/payments/notify', {
    config: {
      public: true,
      idempotency: { key: request => (request.body as { notify_id: string }).notify_id, scope: () => 'provider' }
    },
    schema: { body: Notification, response: { 200: Type.String() } },
    // This runs before the plugin claims the key, because a forged notification must not take the id of a real one.
    preHandler: async (request) => {
      const fields: Record<string, string> = request.body
      const publicKey = await provider.publicKey().catch((cause: unknown) => {
        request.log.error({ err: cause }, 'the payment provider’s public key is not known')
        throw new Problem(503, 'PROVIDER_UNAVAILABLE', 'The signature cannot be checked now. Send it again.')
      })
      if (!isSigned(fields, publicKey)) {
        throw new Problem(401, 'SIGNATURE_INVALID', 'This notification was not signed by our payment provider.')
      }
    }
  }, async (request) => {
    const { out_trade_no: number, trade_no: tradeNo, amount, status } = request.body
    const payment = await findPaymentByNumber(app.pg, number)
    // The database has each payment before the provider has it. So either this payment is not the app's, or the
    // database has lost data. The provider repeats the notification until somebody has found the reason.
    if (payment === null || payment.amount !== Number(amount)) {
      request.log.error({ payment: number }, payment === null
        ? 'the notification is about a payment that is not known'
        : 'the notification has another amount than the payment')
      throw new Problem(409, 'PAYMENT_MISMATCH', 'There is no such payment here.', {}, { retryable: true })
    }
    const complete = completing(request)
    return app.pg.transact(async (client) => {
      const wanted = VERDICTS[status] as 'done' | 'declined'
      const settled = await settle(client, payment, { status: wanted, tradeNo })
      if (settled.status !== wanted) {
        const { status: stored } = settled
        request.log.error({ payment: number, status: stored, notified: status }, 'the provider contradicts itself')
        throw new Problem(409, 'PAYMENT_MISMATCH', 'The payment has another status here.', {}, { retryable: true })
      }
      return complete(client, { headers: { 'content-type': 'text/plain; charset=utf-8' }, body: 'success' })
    })
  })
}
