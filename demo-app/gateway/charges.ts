import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Books } from './app.ts'
import type { Charge } from './ledger.ts'
import { after, before, pause } from './misbehave.ts'
import { notFound } from './not-found.ts'
import { ByNumber, ChargeBody } from './schemas.ts'

/** How long what is processing takes, unless its fault says otherwise. */
const PROCESSING_TIME = 1_000

export const chargeRoutes: FastifyPluginAsyncTypebox<Books> = async (app, { ledger, faults, notifier, closing }) => {
  app.post('/v1/charges', { schema: { body: ChargeBody } }, async (request) => {
    const { number, amount, currency, notifyUrl } = request.body
    const tell = (charge: Charge): void => {
      if (notifyUrl === undefined || closing.aborted) return
      notifier.notify(notifyUrl, { notify_type: 'charge', out_trade_no: number, trade_no: charge.tradeNo, amount: String(amount), currency, status: charge.status })
    }
    const fault = faults.strike('charge', number)
    await before(fault, closing)
    // Some amounts are always declined, as in other sandboxes: it can be tried without telling the sandbox anything.
    const isDeclined = fault?.kind === 'decline' || amount % 100 === 2
    const outcome = isDeclined ? 'declined' : fault?.kind === 'processing' ? 'processing' : 'charged'
    const { charge, isNew } = ledger.charge({ number, amount, currency }, outcome)
    if (isNew && outcome !== 'processing') tell(charge)
    if (isNew && outcome === 'processing') {
      void pause(fault?.delayMs || PROCESSING_TIME, closing).then(() => {
        const done = ledger.finish(number)
        if (done !== null) tell(done)
      })
    }
    const answer = answerOf(charge)
    await after(fault, closing)
    return answer
  })

  app.get('/v1/charges/:number', { schema: { params: ByNumber } }, async (request) => {
    const { number } = request.params
    await before(faults.strike('query', number), closing)
    return answerOf(ledger.charges.get(number) ?? notFound())
  })

  app.post('/v1/charges/:number/close', { schema: { params: ByNumber } }, async request => answerOf(ledger.close(request.params.number)))
}

function answerOf ({ number, tradeNo, status, amount, currency }: Charge): Omit<Charge, 'requests' | 'chargedAt'> {
  return { number, tradeNo, status, amount, currency }
}
