import type { FastifyBaseLogger } from 'fastify'
import type { Provider, ProviderAnswer } from '../provider.ts'
import { findAbandoned, findCapture, touchPayment } from './payments.ts'
import type { Payment } from './payments.ts'
import { settle } from './settle.ts'
import type { Database } from './transaction.ts'

/** The largest number of payments in one sweep. The next sweep takes the next ones. */
const BATCH = 50

/**
 * Settles abandoned payments: those that were started, whose client never came back, and whose notification was lost.
 * Several processes may sweep at the same time.
 * @param abandonedAfter in milliseconds
 * @returns how many payments it settled
 */
export async function sweep (
  db: Database,
  provider: Provider,
  abandonedAfter: number,
  log: FastifyBaseLogger
): Promise<number> {
  let settled = 0
  for (const payment of await findAbandoned(db, abandonedAfter, BATCH)) {
    // A payment that cannot be settled goes to the end, so that it does not hold up those after it.
    await touchPayment(db, payment.id)
    try {
      if (await settleAbandoned(db, provider, payment, log)) settled++
    } catch (err) {
      log.error({ err, payment: payment.id }, 'an abandoned payment could not be settled, trying again later')
    }
  }
  return settled
}

async function settleAbandoned (
  db: Database,
  provider: Provider,
  payment: Payment,
  log: FastifyBaseLogger
): Promise<boolean> {
  const answer = await finalAnswer(db, provider, payment)
  if (answer.status !== 'done' && answer.status !== 'declined') {
    log.warn({ payment: payment.id, answer: answer.status }, 'an abandoned payment cannot be settled yet')
    return false
  }
  const { status } = await db.transact(client => settle(client, payment, answer))
  log.info({ payment: payment.id, status }, 'an abandoned payment was settled')
  return true
}

async function finalAnswer (db: Database, provider: Provider, payment: Payment): Promise<ProviderAnswer> {
  const answer = await provider.query(payment)
  if (answer.status !== 'missing') return answer
  // No client waits for the charge any more. A process that stood still must not charge later, so close the number.
  if (payment.kind === 'capture') return provider.close(payment)
  // The customer was promised the money, so a late refund is better than none.
  return provider.refund(payment, await findCapture(db, payment.orderId))
}

export interface Sweeper {
  stop (): Promise<void>
}

/** Sweeps at an interval of a third of `abandonedAfter`. */
export function startSweeper (
  db: Database,
  provider: Provider,
  abandonedAfter: number,
  log: FastifyBaseLogger
): Sweeper {
  let sweeping: Promise<unknown> | null = null
  const timer = setInterval(() => {
    sweeping ??= sweep(db, provider, abandonedAfter, log)
      .catch((err: unknown) => { log.error({ err }, 'sweeping failed, trying again') })
      .finally(() => { sweeping = null })
  }, Math.max(1, Math.floor(abandonedAfter / 3)))
  timer.unref()
  return {
    async stop () {
      clearInterval(timer)
      await sweeping
    }
  }
}
