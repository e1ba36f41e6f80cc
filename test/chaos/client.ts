import { setTimeout as delay } from 'node:timers/promises'
import { DEMO_TOKENS } from '../../demo-app/auth.ts'
import { clock } from './clock.ts'
import { STRIKE_HEADER, TRY_HEADER } from './faults.ts'
import type { Order } from './faults.ts'
import type { Try } from './history.ts'
import { Proxy } from './proxy.ts'
import type { Recorder } from './recorder.ts'
import { CLIENT_TIMEOUT, PATIENCE } from './settings.ts'

export interface Request {
  key: string
  route: Try['route']
  body: object
  /** `another`: a body other than the one that the key was first sent with. */
  variant: Try['body']
  path: string
  /** The app that is asked first. Each further try goes to the next one. */
  app: number
  /** The order to strike, which each try carries until an app has carried it out. */
  order?: Order | null
}

export interface PersistOptions {
  /** Milliseconds after which the client gives up the first try. */
  leavesAfter?: number
  /** When it aborts, the client gives up the current try, and no later one. */
  leave?: AbortSignal
  /** The client leaves for good once its order is carried out. */
  untilStruck?: boolean
}

/** How one try is sent. */
interface Sending {
  /** Default: directly to its app. */
  url?: string
  order?: Order | null
  /** Default: `CLIENT_TIMEOUT`. */
  leavesAfter?: number
  leave?: AbortSignal | undefined
}

/** The number of characters that are kept of a long answer. */
const KEPT_TEXT = 1_000

/** Milliseconds between tries: short at first, so that the retry meets what the first try left behind. */
const PAUSES = [20, 50, 100, 200, 300]

/** Sends requests as clients of the payment service do, and records all of it. */
export class Client {
  readonly #recorder: Recorder
  readonly #urls: () => string[]
  readonly #givenUp: AbortSignal

  /** @param givenUp aborts when no answer is waited for any more: a request without an answer then never gets one */
  constructor (recorder: Recorder, urls: () => string[], givenUp: AbortSignal) {
    this.#recorder = recorder
    this.#urls = urls
    this.#givenUp = givenUp
  }

  /** Sends the request until there is a final answer, or until it is given up. Resolves to the last try. */
  async persist (request: Request, options: PersistOptions = {}): Promise<Try> {
    const { leavesAfter = CLIENT_TIMEOUT, leave, untilStruck = false } = options
    let order = request.order ?? null
    for (let n = 0; ; n++) {
      const first = n === 0 ? { leavesAfter } : {}
      const sent = await this.once(request, request.app + n, { order, leave, ...first })
      if (sent.final || this.#givenUp.aborted) return sent
      await delay(PAUSES[Math.min(n, PAUSES.length - 1)], undefined, { signal: this.#givenUp }).catch(() => {})
      if (!this.#recorder.hasStruck(sent)) continue
      if (untilStruck) return sent
      order = null
    }
  }

  /** Sends the same request again and again until that time, whatever the answer is, each time to the next app. */
  async insist (request: Request, until: number): Promise<void> {
    for (let n = 1; clock() < until && !this.#givenUp.aborted; n++) {
      await this.once(request, request.app + n)
      await delay(PAUSES[1], undefined, { signal: this.#givenUp }).catch(() => {})
    }
  }

  /**
   * One press of a button, by a client whose stack sends a request again, at once and on another connection, when the
   * one that it was sent on is cut. The last try.
   * @param cut when to cut the connection of each try but the last: resolves then
   */
  async press (request: Request, cut: Array<() => Promise<unknown>>): Promise<Try> {
    const tries: number[] = []
    this.#recorder.presses.push(tries)
    for (let n = 0; ; n++) {
      // Sends to the app that had the request and to another one in turn, as a load balancer would.
      const app = request.app + Math.floor(n / 2)
      const urls = this.#urls()
      const proxy = await Proxy.listen(() => Number(new URL(urls[app % urls.length] as string).port))
      const answer = this.once(request, app, { url: `http://127.0.0.1:${proxy.port}`, leavesAfter: PATIENCE })
      tries.push(this.#recorder.tries.length - 1)
      const cutting = cut[n]
      if (cutting !== undefined) await Promise.race([cutting().then(() => proxy.cut()), answer])
      const sent = await answer
      await proxy.close()
      if (sent.status !== null || cutting === undefined) return sent
    }
  }

  /** One try. It does not throw: no answer is also a result. */
  async once ({ key, route, variant, body, path }: Request, app: number, sending: Sending = {}): Promise<Try> {
    const { url, order = null, leavesAfter = CLIENT_TIMEOUT, leave } = sending
    const urls = this.#urls()
    const index = app % urls.length
    // The try ends by its own timer or by the client's departure, whichever comes first.
    const departure = new AbortController()
    const depart = (): void => departure.abort()
    const timeout = setTimeout(depart, leavesAfter)
    if (leave?.aborted === false) leave.addEventListener('abort', depart, { once: true })
    const sent = this.#recorder.begin({ key, route, body: variant, app: index, at: clock() })
    try {
      const response = await fetch((url ?? urls[index]) + path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${DEMO_TOKENS.alice}`,
          'content-type': 'application/json',
          'idempotency-key': key,
          [TRY_HEADER]: String(sent.id),
          ...(order !== null && { [STRIKE_HEADER]: JSON.stringify(order) })
        },
        body: JSON.stringify(body),
        signal: departure.signal
      })
      const text = await response.text()
      const { code, retryable } = JSON.parse(text === '' ? '{}' : text) as { code?: string, retryable?: boolean }
      Object.assign(sent, {
        status: response.status,
        text: text.slice(0, KEPT_TEXT),
        code: code ?? null,
        replayed: response.headers.get('idempotent-replayed') === 'true',
        final: response.status < 500 && retryable !== true
      } satisfies Partial<Try>)
    } catch {
      // The connection was refused or reset, or the answer came too late.
    } finally {
      clearTimeout(timeout)
      leave?.removeEventListener('abort', depart)
    }
    sent.end = clock()
    return sent
  }
}
