import { isDoneWithin, Wake } from '../shared/wait.ts'
import type { RedisSubscriber } from './redis-client.ts'

/** Milliseconds: how soon waiters look again while there is no subscription to be woken by. */
const POLL_INTERVAL = 250
/**
 * Milliseconds: how soon they look again if there was nothing to wait for. Mostly the key was settled just now; but
 * whatever a server answers, those who claim and wait in turn must not do so without a pause.
 */
const MOMENT = 20

/**
 * Wakes the waiters of this process when a key that they wait for is settled or released, wherever that happened.
 * One connection and one channel a process, opened by the first waiter; one mark a key, however many wait for it.
 */
export class WakeUps {
  readonly channel: string
  readonly #connect: () => RedisSubscriber
  /** By record id, a promise shared by its waiters. */
  readonly #awaited = new Map<string, Wake>()
  #subscriber: RedisSubscriber | null = null
  #subscribed: Promise<boolean> | null = null

  constructor (connect: () => RedisSubscriber, channel: string) {
    this.#connect = connect
    this.channel = channel
  }

  /**
   * See `Store.wait`. `mark` asks the store to publish when the key is settled or released, and answers whether there
   * is anything to wait for. It is called with the subscription in place, or a message could be missed.
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

  async #watch (id: string, wake: Wake, mark: () => Promise<boolean>): Promise<void> {
    let pause = POLL_INTERVAL
    try {
      if (await this.#subscribe()) {
        if (await mark()) return
        pause = MOMENT
      }
    } catch {
      // The claim that the waiter makes next meets the same trouble, and reports it.
    }
    setTimeout(() => this.#wake(id, wake), pause).unref()
  }

  /** Whether messages arrive. Waited for no longer than it would take to look again without them. */
  async #subscribe (): Promise<boolean> {
    if (this.#subscribed === null) {
      const opening = this.#subscribed = this.#open()
      // It was refused, or there is no server and no more try to connect: the next waiter begins anew.
      void opening.then((opened) => { if (!opened) this.#subscribed = null })
    }
    const subscribed = this.#subscribed
    return await isDoneWithin(subscribed, POLL_INTERVAL) && await subscribed && this.#subscriber?.status === 'ready'
  }

  async #open (): Promise<boolean> {
    try {
      const subscriber = this.#connect()
      this.#subscriber = subscriber
      subscriber.on('message', (_channel, id) => this.#wake(id))
      // The app's own client reports the same trouble; without a listener ioredis would print it once more.
      subscriber.on('error', () => {})
      if (subscriber.status === 'wait') subscriber.connect().catch(() => {})
      // Without an offline queue it refuses what comes before.
      await untilReady(subscriber)
      await subscriber.subscribe(this.channel)
      // From now on only after the connection was lost, and with it what was published meanwhile.
      subscriber.on('ready', () => this.#wakeAll())
      return true
    } catch {
      this.#subscriber?.disconnect()
      return false
    }
  }

  /** Once woken, a `Wake` is done: who still has to wait afterwards waits on a new one, with a new mark. */
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

/** Rejects if the client gives up. */
async function untilReady (subscriber: RedisSubscriber): Promise<void> {
  if (subscriber.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    subscriber.once('ready', resolve)
    subscriber.once('end', () => { reject(new Error('The connection ended')) })
  })
}
