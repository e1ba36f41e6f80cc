import { setTimeout as delay } from 'node:timers/promises'
import { DEMO_TOKENS } from '../../demo-app/auth.ts'
import { clock } from './clock.ts'
import { STRIKE_HEADER, TRY_HEADER } from './faults.ts'
import type { Order } from './faults.ts'
import type { Try } from './history.ts'
import type { Recorder } from './recorder.ts'
import { CLIENT_TIMEOUT } from './settings.ts'

export interface Request {
  key: string
  route: Try['route']
  body: object
  /** `another` than the key was first sent with. */
  variant: Try['body']
  path: string
  /** Which app is asked first; each further try goes to the next one. */
  app: number
  /** Carried by each try, until it is carried out. */
  order?: Order | null
}

/** Milliseconds between tries: short at first, for the retry to meet what the first try left behind. */
const PAUSES = [20, 50, 100, 200, 300]

/** Sends requests as clients of the payment service do, and has all of it written down. */
export class Client {
  readonly #recorder: Recorder
  readonly #urls: () => string[]
  readonly #givenUp: AbortSignal

  /** @param givenUp aborts when no answer is waited for any more: what has none then has none for good */
  constructor (recorder: Recorder, urls: () => string[], givenUp: AbortSignal) {
    this.#recorder = recorder
    this.#urls = urls
    this.#givenUp = givenUp
  }

  /**
   * Until there is a final answer, or it is given up. The last try.
   * @param leavesAfter of the first try alone
   * @param untilStruck the client goes away for good once its order is carried out
   */
  async persist (request: Request, leavesAfter = Infinity, { untilStruck = false } = {}): Promise<Try> {
    let order = request.order ?? null
    for (let n = 0; ; n++) {
      const sent = await this.#once(request, request.app + n, order, n === 0 ? leavesAfter : Infinity)
      if (sent.final || this.#givenUp.aborted) return sent
      await delay(PAUSES[Math.min(n, PAUSES.length - 1)], undefined, { signal: this.#givenUp }).catch(() => {})
      if (!this.#recorder.hasStruck(sent)) continue
      if (untilStruck) return sent
      order = null
    }
  }

  /** One try. It does not throw: no answer is an answer too. */
  async #once ({ key, route, variant, body, path }: Request, app: number, order: Order | null, leavesAfter: number): Promise<Try> {
    const urls = this.#urls()
    const index = app % urls.length
    const sent = this.#recorder.begin({ key, route, body: variant, app: index, at: clock() })
    try {
      const response = await fetch(urls[index] + path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${DEMO_TOKENS.alice}`,
          'content-type': 'application/json',
          'idempotency-key': key,
          [TRY_HEADER]: String(sent.id),
          ...(order !== null && { [STRIKE_HEADER]: JSON.stringify(order) })
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(Math.min(CLIENT_TIMEOUT, leavesAfter))
      })
      const text = await response.text()
      const { code, retryable } = JSON.parse(text) as { code?: string, retryable?: boolean }
      Object.assign(sent, {
        status: response.status,
        text,
        code: code ?? null,
        replayed: response.headers.get('idempotent-replayed') === 'true',
        final: response.status < 500 && retryable !== true
      } satisfies Partial<Try>)
    } catch {
      // Refused, reset, or too late.
    }
    sent.end = clock()
    return sent
  }
}
