import { PUNCTUAL } from '../shared/punctual.ts'
import type { RedisClient } from './redis-client.ts'
import { StoreUnreachableError } from './store.ts'
import { Wake } from '../shared/wait.ts'

/** What the status of a client is between two tries to connect. */
const AWAY = ['close', 'reconnecting', 'disconnecting']

/** Whether the app's client can be asked. */
export class RedisConnection {
  readonly #redis: RedisClient
  readonly #connectTimeout: number
  /** Wakes those who wait for the first connection, when it is there, or the client gives up. */
  #attempt = new Wake()
  readonly #listeners = new Set<() => void>()
  #wasReady: boolean
  /** A connection broke, or could not be made, since the client was ready last. */
  #wasAway: boolean

  /** @param connectTimeout milliseconds for which a client that connects for the first time is waited for */
  constructor (redis: RedisClient, connectTimeout: number) {
    this.#redis = redis
    this.#connectTimeout = connectTimeout
    this.#wasReady = redis.status === 'ready'
    this.#wasAway = AWAY.includes(redis.status)
    redis.once('ready', this.#becameReady)
    redis.on('close', this.#wentAway)
  }

  /** Asked first where every request comes by, which then need not wait for a promise. */
  get isReady (): boolean {
    return this.#redis.status === 'ready'
  }

  #becameReady = (): void => {
    this.#redis.once('ready', this.#becameReady)
    const wasAway = this.#wasAway
    this.#wasAway = false
    this.#wasReady = true
    this.#attempt.now()
    // A process that starts and is connected at its first try comes out of no outage.
    if (wasAway) for (const listener of this.#listeners) listener()
  }

  #wentAway = (): void => {
    this.#wasAway = true
    if (this.#redis.status !== 'end') return
    // It tries no more, unless the app makes it.
    this.#attempt.now()
    this.#attempt = new Wake()
  }

  /**
   * A client that lost its connection would queue commands until it has one again: a request is better told at once.
   * One that has never had a connection belongs to an app that starts, and is waited for.
   * @throws {StoreUnreachableError}
   */
  async reachable (): Promise<void> {
    if (this.isReady) return
    if (this.#wasReady || this.#redis.status === 'end') throw this.#notConnected()
    // A lazy client would connect by itself with the first command, and lose that if it has no offline queue.
    if (this.#redis.status === 'wait') this.#redis.connect?.().catch(() => {})
    const attempt = this.#attempt
    await this.#firstConnection(attempt)
    if (this.#wasReady) return
    if (attempt !== this.#attempt) throw this.#notConnected()
    throw new StoreUnreachableError(`The Redis client did not connect within ${this.#connectTimeout} ms`)
  }

  #notConnected (): StoreUnreachableError {
    return new StoreUnreachableError(`The Redis client is not connected (its status is '${this.#redis.status}')`)
  }

  async #firstConnection (attempt: Wake): Promise<void> {
    const began = performance.now()
    await attempt.orAfter(this.#connectTimeout)
    // This process was busy itself, and has yet to read what Redis said.
    const wasBusy = performance.now() - began - this.#connectTimeout > PUNCTUAL
    if (!this.#wasReady && wasBusy) await attempt.orAfter(this.#connectTimeout)
  }

  /** See `Store.onReady`. */
  onReady (listener: () => void): () => void {
    // The same function may be given twice.
    const own = (): void => listener()
    this.#listeners.add(own)
    return () => { this.#listeners.delete(own) }
  }

  /** Lets go of the client. */
  close (): void {
    this.#redis.off('ready', this.#becameReady)
    this.#redis.off('close', this.#wentAway)
    this.#listeners.clear()
  }
}
