import { Type } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { verify } from '../gateway/signature.ts'
import { completing } from '../orders/complete.ts'
import { findPaymentByNumber } from '../orders/payments.ts'
import { settle } from '../orders/settle.ts'
import { Problem } from '../problems.ts'
import type { Provider } from '../provider.ts'
import { Uuid } from './schemas.ts'

/** More members may come with it; all of them are signed. */
const Notification = Type.Object({
  // What a key may be made of.
  notify_id: Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' }),
  out_trade_no: Uuid,
  trade_no: Type.String({ maxLength: 128, 'x-storable': true }),
  amount: Type.String({ pattern: '^[0-9]{1,16}$' }),
  status: Type.Union(['charged', 'declined', 'refunded', 'refused'].map(status => Type.Literal(status))),
  sign: Type.String({ maxLength: 1024 })
}, { additionalProperties: Type.String() })

const VERDICTS: Record<string, 'done' | 'declined'> = { charged: 'done', refunded: 'done', declined: 'declined', refused: 'declined' }

/**
 * Where the provider tells what became of a payment, again and again until the answer is `success`. There is no header
 * with a key: the notification's own id is one. So each is applied once, and each repetition is answered with a replay.
 */
export const notifyRoute: FastifyPluginAsyncTypebox<{ provider: Provider }> = async (app, { provider }) => {
  app.post('/payments/notify', {
    config: {
      public: true,
      idempotency: { key: request => (request.body as { notify_id: string }).notify_id, scope: () => 'provider' }
    },
    schema: { body: Notification, response: { 200: Type.String() } },
    // Before the key is claimed: a forged notification must not take the id of a real one.
    preHandler: async (request) => {
      const fields: Record<string, string> = request.body
      const publicKey = await provider.publicKey().catch((cause: unknown) => {
        request.log.error({ err: cause }, 'the payment provider’s public key is not known')
        throw new Problem(503, 'PROVIDER_UNAVAILABLE', 'The signature cannot be checked now. Send it again.')
      })
      if (!verify(fields, publicKey)) throw new Problem(401, 'SIGNATURE_INVALID', 'This notification was not signed by our payment provider.')
    }
  }, async (request) => {
    const { out_trade_no: number, trade_no: tradeNo, amount, status } = request.body
    const payment = await findPaymentByNumber(app.pg, number)
    // It is written before the provider hears of it. So this one is not ours, or our database is not what it was: the
    // provider keeps on asking until somebody has looked into it.
    if (payment === null || payment.amount !== Number(amount)) {
      request.log.error({ payment: number }, payment === null ? 'notified of a payment that is not known' : 'notified of another amount than was asked for')
      throw new Problem(409, 'PAYMENT_MISMATCH', 'There is no such payment here.', {}, { retryable: true })
    }
    const complete = completing(request)
    return app.pg.transact(async (client) => {
      const wanted = VERDICTS[status] as 'done' | 'declined'
      const settled = await settle(client, payment, { status: wanted, tradeNo })
      if (settled.status !== wanted) {
        request.log.error({ payment: number, status: settled.status, notified: status }, 'the provider contradicts itself')
        throw new Problem(409, 'PAYMENT_MISMATCH', 'The payment has ended otherwise.', {}, { retryable: true })
      }
      return complete(client, { headers: { 'content-type': 'text/plain; charset=utf-8' }, body: 'success' })
    })
  })
}
