import { isDoneWithin, Wake } from '../shared/wait.ts'
import { forgottenId } from './forgotten.ts'
import type { RedisSubscriber } from './redis-client.ts'

/** Milliseconds after which waiters claim again while there is no subscription that could wake them. */
const POLL_INTERVAL = 250
/**
 * Milliseconds after which waiters claim again if the key was not running any more. Usually it was settled a moment
 * before. The pause makes sure that a loop of claims and waits never runs without one, whatever the server answers.
 */
const SHORTEST_WAIT = 20

/**
 * Wakes the waiters of this process when any process settles or releases the key that they wait for. A process has one
 * connection and one channel for this, which the first waiter opens. However many waiters a key has, one process marks
 * its record once.
 */
export class WakeUps {
  readonly channel: string
  readonly #connect: () => RedisSubscriber
  /** By record id, the wake-up call that its waiters share. */
  readonly #awaited = new Map<string, Wake>()
  readonly #forgetListeners = new Set<(id: string) => void>()
  #subscriber: RedisSubscriber | null = null
  #subscribed: Promise<boolean> | null = null

  constructor (connect: () => RedisSubscriber, channel: string) {
    this.#connect = connect
    this.channel = channel
  }

  /**
   * See `Store.wait`.
   * @param mark asks Redis to publish a message when the key is settled or released, and resolves to whether the key is
   *   running. It is called after the subscription is in place, so that no message is missed
   */
  async wait (id: string, timeout: number, signal: AbortSignal, mark: () => Promise<boolean>): Promise<void> {
    if (signal.aborted) return
    let wake = this.#awaited.get(id)
    if (wake === undefined) {
      wake = new Wake()
      this.#awaited.set(id, wake)
      void this.#watch(id, wake, mark)
    }
    wake.waiters++
    await wake.orAfter(timeout, signal)
    wake.waiters--
    if (wake.waiters === 0) this.#forget(id, wake)
  }

  /** See `Store.onForgotten`. Only a process that has the connection for its waiters learns of it. */
  onForgotten (listener: (id: string) => void): () => void {
    this.#forgetListeners.add(listener)
    return () => { this.#forgetListeners.delete(listener) }
  }

  async #watch (id: string, wake: Wake, mark: () => Promise<boolean>): Promise<void> {
    let pause = POLL_INTERVAL
    try {
      if (await this.#subscribe()) {
        if (await mark()) return
        pause = SHORTEST_WAIT
      }
    } catch {
      // The waiter's next claim meets the same failure and reports it.
    }
    setTimeout(() => this.#wake(id, wake), pause).unref()
  }

  /** Whether messages arrive. Waits no longer than waiters without a subscription wait before they claim again. */
  async #subscribe (): Promise<boolean> {
    if (this.#subscribed === null) {
      const opening = this.#subscribed = this.#open()
      // Redis refused it, or the client has given up connecting: the next waiter tries it again.
      void opening.then((opened) => { if (!opened) this.#subscribed = null })
    }
    const subscribed = this.#subscribed
    return await isDoneWithin(subscribed, POLL_INTERVAL, null, false) && await subscribed &&
      this.#subscriber?.status === 'ready'
  }

  async #open (): Promise<boolean> {
    try {
      const subscriber = this.#connect()
      this.#subscriber = subscriber
      subscriber.on('message', (_channel, message) => { this.#receive(message) })
      // The app's own client reports the same errors. Without a listener ioredis would print them a second time.
      subscriber.on('error', () => {})
      if (subscriber.status === 'wait') subscriber.connect().catch(() => {})
      // A client without an offline queue refuses commands before it is ready.
      await untilReady(subscriber)
      await subscriber.subscribe(this.channel)
      // From now on this event follows a lost connection, and messages may have been lost with it.
      subscriber.on('ready', () => this.#wakeAll())
      return true
    } catch {
      this.#subscriber?.disconnect()
      return false
    }
  }

  #receive (message: string): void {
    const forgotten = forgottenId(message)
    if (forgotten === null) return this.#wake(message)
    for (const listener of this.#forgetListeners) listener(forgotten)
  }

  /** A `Wake` works once. A waiter that has to wait again uses a new one, with a new mark. */
  #wake (id: string, wake = this.#awaited.get(id)): void {
    if (wake === undefined) return
    this.#forget(id, wake)
    wake.now()
  }

  #wakeAll (): void {
    for (const [id, wake] of this.#awaited) this.#wake(id, wake)
  }

  #forget (id: string, wake: Wake): void {
    if (this.#awaited.get(id) === wake) this.#awaited.delete(id)
  }

  close (): void {
    this.#subscriber?.disconnect()
    this.#wakeAll()
  }
}

/** Resolves once the client is ready. Rejects if it gives up connecting. */
async function untilReady (subscriber: RedisSubscriber): Promise<void> {
  if (subscriber.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    subscriber.once('ready', resolve)
    subscriber.once('end', () => { reject(new Error('The connection ended')) })
  })
}
