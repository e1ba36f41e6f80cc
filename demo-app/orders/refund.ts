import type { Provider, ProviderAnswer } from '../provider.ts'
import { ask } from './ask.ts'
import { begin } from './begin.ts'
import { declined } from './complete.ts'
import type { Complete, Declined } from './complete.ts'
import { findCapture } from './payments.ts'
import type { Payment } from './payments.ts'
import { settle } from './settle.ts'
import type { Command } from './store.ts'
import type { Database } from './transaction.ts'

export interface RefundCommand extends Command {
  reason: string | null
  /** Above 1 if an earlier attempt started and its outcome is not known. */
  attempt: number
}

export interface Refund {
  orderId: string
  refundId: string
  amount: number
  currency: string
  status: 'refunded'
  reason: string | null
  refundedAt: string
}

/** Refunds the whole amount, once, in the same phases as `payOrder`. */
export async function refundOrder (
  db: Database,
  provider: Provider,
  command: RefundCommand,
  complete: Complete
): Promise<Refund | Declined> {
  const begun = await begin(db, command, { kind: 'refund', reason: command.reason })
  const { payment } = begun
  const refund = async (): Promise<ProviderAnswer> => {
    return provider.refund(payment, await findCapture(db, payment.orderId))
  }
  const verdict = payment.status === 'started' ? await ask(provider, begun, command.attempt, refund) : null
  return db.transact(async (client) => {
    const settled = verdict === null ? payment : await settle(client, payment, verdict)
    if (settled.status === 'done') return complete(client, { body: refundOf(settled) })
    return complete(client, declined('REFUND_REFUSED',
      'The payment provider refused the refund. It can be tried with a new key.'))
  })
}

function refundOf ({ id, orderId, amount, currency, reason, settledAt }: Payment): Refund {
  return {
    orderId,
    refundId: id,
    amount,
    currency,
    status: 'refunded',
    reason,
    refundedAt: (settledAt as Date).toISOString()
  }
}
