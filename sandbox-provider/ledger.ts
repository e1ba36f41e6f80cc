import { ProviderError } from './errors.ts'

/** What a merchant asks to be charged. */
export interface ChargeOrder {
  /** The merchant's own number for it, unique among the merchant's numbers. */
  number: string
  /** In minor units. */
  amount: number
  currency: string
}

export interface Charge extends ChargeOrder {
  tradeNo: string
  status: 'charged' | 'declined' | 'processing' | 'closed'
  /** How many requests asked for it. */
  requests: number
  /** ISO 8601; `null` if no money moved. */
  chargedAt: string | null
}

export interface RefundOrder {
  number: string
  chargeNumber: string
  amount: number
}

export interface Refund extends RefundOrder {
  tradeNo: string
  status: 'refunded' | 'refused'
  requests: number
}

/**
 * The provider's books, in memory: charges and refunds by the merchant's own numbers. Two requests with the same number
 * move money once.
 */
export class Ledger {
  readonly charges = new Map<string, Charge>()
  readonly refunds = new Map<string, Refund>()
  #trades = 0

  /** @param outcome of the charge, if its number is new */
  charge (
    order: ChargeOrder,
    outcome: 'charged' | 'declined' | 'processing'
  ): { charge: Charge, isNew: boolean } {
    const known = this.charges.get(order.number)
    if (known !== undefined) {
      known.requests++
      if (known.status === 'closed') {
        throw new ProviderError(409, 'CLOSED', 'This number was closed before it was charged.')
      }
      if (known.amount !== order.amount || known.currency !== order.currency) throw termsDiffer()
      return { charge: known, isNew: false }
    }
    const charge: Charge = { ...order, tradeNo: this.#nextTrade(), status: outcome, requests: 1, chargedAt: null }
    this.charges.set(order.number, charge)
    if (outcome === 'charged') markCharged(charge)
    return { charge, isNew: true }
  }

  /** Completes a charge that was processing. Returns `null` if there is no such charge. */
  finish (number: string): Charge | null {
    const charge = this.charges.get(number)
    if (charge?.status !== 'processing') return null
    markCharged(charge)
    return charge
  }

  /** Makes sure that a number that was not charged never will be. */
  close (number: string): Charge {
    const known = this.charges.get(number)
    if (known === undefined) {
      const closed: Charge = {
        number,
        amount: 0,
        currency: '',
        tradeNo: '',
        status: 'closed',
        requests: 0,
        chargedAt: null
      }
      this.charges.set(number, closed)
      return closed
    }
    if (known.status === 'declined') known.status = 'closed'
    return known
  }

  refund (order: RefundOrder): { refund: Refund, isNew: boolean } {
    const known = this.refunds.get(order.number)
    if (known !== undefined) {
      known.requests++
      if (known.amount !== order.amount || known.chargeNumber !== order.chargeNumber) throw termsDiffer()
      return { refund: known, isNew: false }
    }
    const charge = this.charges.get(order.chargeNumber)
    const left = charge?.status === 'charged' ? charge.amount - this.#refunded(order.chargeNumber) : 0
    const refund: Refund = {
      ...order,
      tradeNo: this.#nextTrade(),
      status: order.amount <= left ? 'refunded' : 'refused',
      requests: 1
    }
    this.refunds.set(order.number, refund)
    return { refund, isNew: true }
  }

  #refunded (chargeNumber: string): number {
    let sum = 0
    for (const refund of this.refunds.values()) {
      if (refund.chargeNumber === chargeNumber && refund.status === 'refunded') sum += refund.amount
    }
    return sum
  }

  #nextTrade (): string {
    return `T${String(++this.#trades).padStart(12, '0')}`
  }
}

function termsDiffer (): ProviderError {
  return new ProviderError(409, 'TERMS_DIFFER', 'This number was used before, with other terms.')
}

function markCharged (charge: Charge): void {
  charge.status = 'charged'
  charge.chargedAt = new Date().toISOString()
}
