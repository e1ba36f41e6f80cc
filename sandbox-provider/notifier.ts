import { randomUUID } from 'node:crypto'
import { sign } from './signature.ts'

/** Milliseconds before each delivery: none, then 4, 10 and 10 minutes, and 1, 2, 6 and 15 hours. */
const SCHEDULE = [0, 4, 10, 10, 60, 120, 360, 900].map(minutes => minutes * 60_000)
/** Milliseconds that the merchant may take to answer. */
const TIMEOUT = 5_000

export interface NotifyOptions {
  /** The factor for the times of the schedule. Default 1. */
  scale?: number
  /** The probability, from 0 to 1, that a delivery is made twice. Default 0. */
  duplicates?: number
  /** Milliseconds: the longest random delay of a first delivery, which changes the order. Default 0. */
  shuffleMs?: number
}

export interface Delivery {
  notifyId: string
  number: string
  attempts: number
  delivered: boolean
}

/** Notifies merchants of the status of charges and refunds, and repeats this until the answer is `success`. */
export class Notifier {
  readonly deliveries: Delivery[] = []
  readonly #privateKey: string
  readonly #options: Required<NotifyOptions>
  readonly #random: () => number
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #closing = new AbortController()

  constructor (privateKey: string, { scale = 1, duplicates = 0, shuffleMs = 0 }: NotifyOptions, random: () => number) {
    this.#privateKey = privateKey
    this.#options = { scale, duplicates, shuffleMs }
    this.#random = random
  }

  /** @param fields of the form, beside those that every notification has */
  notify (url: string, fields: Record<string, string> & { out_trade_no: string }): void {
    const delivery: Delivery = {
      notifyId: randomUUID(),
      number: fields.out_trade_no,
      attempts: 0,
      delivered: false
    }
    this.deliveries.push(delivery)
    const signed: Record<string, string> = {
      ...fields,
      notify_id: delivery.notifyId,
      notify_time: new Date().toISOString(),
      sign_type: 'RSA2'
    }
    signed.sign = sign(signed, this.#privateKey)
    const form = new URLSearchParams(signed).toString()
    this.#deliver(url, form, delivery, 0, this.#random() * this.#options.shuffleMs)
  }

  #deliver (url: string, form: string, delivery: Delivery, step: number, delay: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void this.#attempt(url, form, delivery, step)
    }, delay)
    this.#timers.add(timer)
  }

  async #attempt (url: string, form: string, delivery: Delivery, step: number): Promise<void> {
    const times = this.#random() < this.#options.duplicates ? 2 : 1
    delivery.attempts += times
    const answers = await Promise.all(Array.from({ length: times }, () => this.#post(url, form)))
    if (answers.includes(true)) delivery.delivered = true
    const pause = SCHEDULE[step + 1]
    if (delivery.delivered || pause === undefined || this.#closing.signal.aborted) return
    this.#deliver(url, form, delivery, step + 1, pause * this.#options.scale)
  }

  async #post (url: string, form: string): Promise<boolean> {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: form,
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT)])
      })
      return await response.text() === 'success' && response.status === 200
    } catch {
      return false
    }
  }

  close (): void {
    this.#closing.abort()
    for (const timer of this.#timers) clearTimeout(timer)
  }
}
