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
  /** Above 1: an earlier attempt started, and its outcome is not known. */
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
 * Lock, check, update, twice: with a provider in between no transaction can do it at once. The lock on the key is the
 * plugin's; those on the row hold against every other key too. The answer is completed in the last transaction, so that
 * it stands if and only if the payment does.
 */
export async function payOrder (db: Database, provider: Provider, command: PayCommand, complete: Complete): Promise<Receipt | Declined> {
  const begun = await begin(db, command, { kind: 'capture', method: command.method })
  const { payment } = begun
  const verdict = payment.status === 'started'
    ? await ask(provider, begun, command.attempt, () => provider.charge(payment))
    : null
  return db.transact(async (client) => {
    const settled = verdict === null ? payment : await settle(client, payment, verdict)
    return settled.status === 'done'
      ? complete(client, { body: receiptOf(settled) })
      : complete(client, declined('PAYMENT_DECLINED', 'The payment provider declined the payment. The order can be paid with a new key.'))
  })
}

/** Made of the stored payment alone, so that it is the same whenever it is made. */
function receiptOf ({ id, orderId, amount, currency, settledAt }: Payment): Receipt {
  return { orderId, paymentId: id, amount, currency, status: 'paid', paidAt: (settledAt as Date).toISOString() }
}
