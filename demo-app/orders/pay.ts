import type { Provider } from '../provider.ts'
import { ask } from './ask.ts'
import { begin } from './begin.ts'
import type { Complete } from './complete.ts'
import { declined } from './complete.ts'
import type { Declined } from './complete.ts'
import type { Payment } from './payments.ts'
import { settle } from './settle.ts'
import type { Command } from './store.ts'
import type { Database } from './transaction.ts'

export interface PayCommand extends Command {
  method: 'card' | 'wallet'
  /** Above 1 if an earlier attempt started and its outcome is not known. */
  attempt: number
}

export interface Receipt {
  orderId: string
  paymentId: string
  amount: number
  currency: string
  status: 'paid'
  paidAt: string
}

/**
 * Locks, checks and updates the order, in two transactions: one before the provider is asked and one after. The plugin
 * locks the key. The locks on the order's row also hold against requests with other keys. The last transaction also
 * completes the answer, so the database has the answer if and only if it has the payment.
 */
export async function payOrder (
  db: Database,
  provider: Provider,
  command: PayCommand,
  complete: Complete
): Promise<Receipt | Declined> {
  const begun = await begin(db, command, { kind: 'capture', method: command.method })
  const { payment } = begun
  const verdict = payment.status === 'started'
    ? await ask(provider, begun, command.attempt, () => provider.charge(payment))
    : null
  return db.transact(async (client) => {
    const settled = verdict === null ? payment : await settle(client, payment, verdict)
    if (settled.status === 'done') return complete(client, { body: receiptOf(settled) })
    return complete(client, declined('PAYMENT_DECLINED',
      'The payment provider declined the payment. The order can be paid with a new key.'))
  })
}

/** The receipt is made from the stored payment only, so it is always the same. */
function receiptOf ({ id, orderId, amount, currency, settledAt }: Payment): Receipt {
  return { orderId, paymentId: id, amount, currency, status: 'paid', paidAt: (settledAt as Date).toISOString() }
}
