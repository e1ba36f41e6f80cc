import { PUNCTUAL } from '../shared/punctual.ts'
import { Wake } from '../shared/wait.ts'
import type { RedisClient } from './redis-client.ts'
import { StoreUnreachableError } from './store.ts'

/** The states of a client that has no connection and will try to connect again. */
const AWAY = ['close', 'reconnecting', 'disconnecting']

/** Knows whether the app's client is connected. */
export class RedisConnection {
  readonly #redis: RedisClient
  readonly #connectTimeout: number
  /** Wakes the calls that wait for the first connection, as soon as it exists or the client gives up. */
  #attempt = new Wake()
  readonly #listeners = new Set<() => void>()
  #wasReady: boolean
  /** Whether a connection broke, or could not be made, since the client was last ready. */
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

  /** Every request asks this first: if it is true, the request need not wait for a promise. */
  get isReady (): boolean {
    return this.#redis.status === 'ready'
  }

  #becameReady = (): void => {
    this.#redis.once('ready', this.#becameReady)
    const wasAway = this.#wasAway
    this.#wasAway = false
    this.#wasReady = true
    this.#attempt.now()
    // A client that connects at the first try was not cut off before, so the listeners are not called.
    if (wasAway) for (const listener of this.#listeners) listener()
  }

  #wentAway = (): void => {
    this.#wasAway = true
    if (this.#redis.status !== 'end') return
    // The client does not try again, unless the app tells it to.
    this.#attempt.now()
    this.#attempt = new Wake()
  }

  /**
   * Resolves if a command can be sent. A client that has lost its connection would queue commands until it has a new
   * one, but a request is better refused at once. A client that has never been connected belongs to an app that has
   * just started: this waits for its first connection.
   * @throws {StoreUnreachableError} if the client is not connected
   */
  async reachable (): Promise<void> {
    if (this.isReady) return
    if (this.#wasReady || this.#redis.status === 'end') throw this.#notConnected()
    // A lazy client connects with its first command, but without an offline queue it would refuse that command.
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
    const startedAt = performance.now()
    await attempt.orAfter(this.#connectTimeout)
    // A late timer shows that this process was busy, and so it may not have read the answer of Redis yet.
    const wasBusy = performance.now() - startedAt - this.#connectTimeout > PUNCTUAL
    if (!this.#wasReady && wasBusy) await attempt.orAfter(this.#connectTimeout)
  }

  /** See `Store.onReady`. */
  onReady (listener: () => void): () => void {
    // The wrapper keeps two registrations of the same function apart.
    const own = (): void => listener()
    this.#listeners.add(own)
    return () => { this.#listeners.delete(own) }
  }

  /** Removes all listeners from the app's client. */
  close (): void {
    this.#redis.off('ready', this.#becameReady)
    this.#redis.off('close', this.#wentAway)
    this.#listeners.clear()
  }
}
