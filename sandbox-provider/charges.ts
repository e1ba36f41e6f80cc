import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Books } from './books.ts'
import { found } from './errors.ts'
import type { Charge } from './ledger.ts'
import { after, before, pause } from './misbehave.ts'
import { ByNumber, ChargeBody } from './schemas.ts'

/** Milliseconds for which a charge stays `processing`, unless the fault says otherwise. */
const PROCESSING_TIME = 1_000

export const chargeRoutes: FastifyPluginAsyncTypebox<Books> = async (app, { ledger, faults, notifier, closing }) => {
  app.post('/v1/charges', { schema: { body: ChargeBody } }, async (request) => {
    const { number, amount, currency, notifyUrl } = request.body
    const notify = (charge: Charge): void => {
      if (notifyUrl === undefined || closing.aborted) return
      notifier.notify(notifyUrl, {
        notify_type: 'charge',
        out_trade_no: number,
        trade_no: charge.tradeNo,
        amount: String(amount),
        currency,
        status: charge.status
      })
    }
    const fault = faults.strike('charge', number)
    await before(fault, closing)
    // As in other sandboxes, some amounts are always declined: a client can try a decline without setting a fault.
    const isDeclined = fault?.kind === 'decline' || amount % 100 === 2
    const outcome = isDeclined ? 'declined' : fault?.kind === 'processing' ? 'processing' : 'charged'
    const { charge, isNew } = ledger.charge({ number, amount, currency }, outcome)
    if (isNew && outcome !== 'processing') notify(charge)
    if (isNew && outcome === 'processing') {
      void pause(fault?.delayMs || PROCESSING_TIME, closing).then(() => {
        const finished = ledger.finish(number)
        if (finished !== null) notify(finished)
      })
    }
    // Read before the pause: the answer describes the charge as it was when the request was handled.
    const answer = answerOf(charge)
    await after(fault, closing)
    return answer
  })

  app.get('/v1/charges/:number', { schema: { params: ByNumber } }, async (request) => {
    const { number } = request.params
    await before(faults.strike('query', number), closing)
    return answerOf(found(ledger.charges.get(number)))
  })

  app.post('/v1/charges/:number/close', { schema: { params: ByNumber } }, async (request) => {
    return answerOf(ledger.close(request.params.number))
  })
}

function answerOf ({ number, tradeNo, status, amount, currency }: Charge): Omit<Charge, 'requests' | 'chargedAt'> {
  return { number, tradeNo, status, amount, currency }
}
