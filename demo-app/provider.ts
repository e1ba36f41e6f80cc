import type { Payment } from './orders/payments.ts'
import { isStorable } from './text.ts'

export type ProviderAnswer =
  | { status: 'done' | 'declined', tradeNo: string | null }
  /** The provider accepted the request and has not completed it. */
  | { status: 'processing' }
  /** The provider does not know the number. */
  | { status: 'missing' }
  /** The provider did not answer, or the app does not understand the answer. The provider may have acted. */
  | { status: 'unknown' }

export interface ProviderOptions {
  url: string
  apiKey: string
  /** Milliseconds that one call may take. */
  timeout: number
  /** The URL for notifications. A function, because the port is known only once the app listens. */
  notifyUrl: () => string
}

/**
 * The calls to the payment provider. Each charge and each refund has a number of the app's own, so that the same call
 * can be sent twice without moving money twice.
 */
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

  /** Asks for the status of a charge or a refund. */
  query ({ id, kind }: Payment): Promise<ProviderAnswer> {
    return this.#call(`/v1/${kind === 'capture' ? 'charges' : 'refunds'}/${id}`)
  }

  /** Makes sure that a number that was not charged never will be. */
  close ({ id }: Payment): Promise<ProviderAnswer> {
    return this.#call(`/v1/charges/${id}/close`, {})
  }

  /** The public key for the signatures of notifications, in PEM. Fetched once. */
  async publicKey (): Promise<string> {
    if (this.#publicKey === null) {
      const response = await this.#fetch('/v1/public-key')
      if (!response.ok) {
        throw new Error(`the payment provider answered ${response.status} when asked for its public key`)
      }
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
    // The app stores the provider's number for reference only. So a number that Postgres cannot store is left out, and
    // the payment is settled without it.
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
