import type { Payment } from './orders/payments.ts'
import { isStorable } from './text.ts'

export type ProviderAnswer =
  | { status: 'done' | 'declined', tradeNo: string | null }
  /** It was asked, and takes its time. */
  | { status: 'processing' }
  /** It has never heard of the number. */
  | { status: 'missing' }
  /** It did not answer, or not in words that we know: it may have acted. */
  | { status: 'unknown' }

export interface ProviderOptions {
  url: string
  apiKey: string
  /** Milliseconds for one call. */
  timeout: number
  /** Where the provider reaches us. Asked for late: the port is known once we listen. */
  notifyUrl: () => string
}

/** The merchant's side of the payment provider. Money is named by our own numbers, so that asking twice is safe. */
export class Provider {
  readonly #options: ProviderOptions
  #publicKey: string | null = null

  constructor (options: ProviderOptions) {
    this.#options = options
  }

  charge ({ id, amount, currency, method }: Payment): Promise<ProviderAnswer> {
    return this.#call('/v1/charges', { number: id, amount, currency, method, notifyUrl: this.#options.notifyUrl() })
  }

  refund ({ id, amount }: Payment, { id: chargeNumber }: Pick<Payment, 'id'>): Promise<ProviderAnswer> {
    return this.#call('/v1/refunds', { number: id, chargeNumber, amount, notifyUrl: this.#options.notifyUrl() })
  }

  /** What became of a payment or refund. */
  query ({ id, kind }: Payment): Promise<ProviderAnswer> {
    return this.#call(`/v1/${kind === 'capture' ? 'charges' : 'refunds'}/${id}`)
  }

  /** Makes sure that a number that was not charged never is. */
  close ({ id }: Payment): Promise<ProviderAnswer> {
    return this.#call(`/v1/charges/${id}/close`, {})
  }

  /** What the provider signs its notifications with, in PEM. Asked for once. */
  async publicKey (): Promise<string> {
    if (this.#publicKey === null) {
      const response = await this.#fetch('/v1/public-key')
      if (!response.ok) throw new Error(`the payment provider answered ${response.status} when asked for its public key`)
      this.#publicKey = await response.text()
    }
    return this.#publicKey
  }

  async #call (path: string, body?: object): Promise<ProviderAnswer> {
    let response: Response
    let answer: { status?: unknown, tradeNo?: unknown, code?: unknown }
    try {
      response = await this.#fetch(path, body)
      answer = await response.json() as typeof answer
    } catch {
      return { status: 'unknown' }
    }
    if (response.status === 404 && answer.code === 'NOT_FOUND') return { status: 'missing' }
    if (response.status === 409 && answer.code === 'CLOSED') return { status: 'declined', tradeNo: null }
    // For our books only. One that cannot stand in them must not keep the payment from being settled.
    const tradeNo = typeof answer.tradeNo === 'string' && isStorable(answer.tradeNo) ? answer.tradeNo : null
    switch (response.ok && answer.status) {
      case 'charged':
      case 'refunded':
        return { status: 'done', tradeNo }
      case 'declined':
      case 'refused':
      case 'closed':
        return { status: 'declined', tradeNo }
      case 'processing':
        return { status: 'processing' }
      default:
        return { status: 'unknown' }
    }
  }

  #fetch (path: string, body?: object): Promise<Response> {
    const { url, apiKey, timeout } = this.#options
    return fetch(new URL(path, url), {
      headers: { authorization: `Bearer ${apiKey}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeout)
    })
  }
}
