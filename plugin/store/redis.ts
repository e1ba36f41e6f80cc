import { decode, encodeReleased, encodeRunning, encodeSettled, timeToLive } from './record.ts'
import type { DecodedRecord } from './record.ts'
import * as scripts from './scripts.ts'
import { StoreUnreachableError } from './store.ts'
import type { Claim, ClaimResult, Outcome, OwnedClaim, Store, StoredRecord } from './store.ts'
import { Wake, WakeUps } from './wake-ups.ts'

/** What is used of an ioredis `Redis` or `Cluster`. */
export interface RedisClient {
  readonly status: string
  /** `SET key value PX milliseconds NX GET`, together since Redis 7.0. */
  setBuffer (key: string, value: string, px: 'PX', milliseconds: number, nx: 'NX', get: 'GET'): Promise<Buffer | null>
  evalsha (sha: string, keys: 1, key: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  eval (lua: string, keys: 1, key: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  getBuffer (key: string): Promise<Buffer | null>
  pttl (key: string): Promise<number>
  del (key: string): Promise<number>
  once (event: 'ready', listener: () => void): unknown
  off (event: 'ready', listener: () => void): unknown
  /** Only for those who wait: a connection that is subscribed can do nothing else. */
  duplicate (): RedisSubscriber
}

/** What is used of the connection that is told of settled keys. */
export interface RedisSubscriber {
  readonly status: string
  connect (): Promise<void>
  subscribe (channel: string): Promise<unknown>
  on (event: 'message', listener: (channel: string, message: string) => void): unknown
  on (event: 'ready', listener: () => void): unknown
  on (event: 'error', listener: (error: Error) => void): unknown
  disconnect (): void
}

export interface RedisStoreOptions {
  /** What the names of keys and of the channel start with. */
  keyPrefix: string
  /** Milliseconds for which a client that connects for the first time is waited for. */
  connectTimeout: number
}

const FIRST_CLAIM: ClaimResult = { state: 'claimed', attempt: 1 }

/**
 * Records in Redis 7.0 or later, one key each: `keyPrefix` and the record's id. Claims and completions, which every
 * request needs, are chained promises: an async function for each would be the larger part of what they cost.
 */
export class RedisStore implements Store {
  readonly #redis: RedisClient
  readonly #keyPrefix: string
  readonly #connectTimeout: number
  readonly #wakeUps: WakeUps
  readonly #firstReady = new Wake()
  #wasReady: boolean

  constructor (redis: RedisClient, { keyPrefix, connectTimeout }: RedisStoreOptions) {
    this.#redis = redis
    this.#keyPrefix = keyPrefix
    this.#connectTimeout = connectTimeout
    this.#wakeUps = new WakeUps(() => redis.duplicate(), `${keyPrefix}settled`)
    this.#wasReady = redis.status === 'ready'
    if (!this.#wasReady) redis.once('ready', this.#onReady)
  }

  claim (id: string, claim: Claim): Promise<ClaimResult> {
    return this.#isReady ? this.#claim(id, claim) : this.#reachable().then(() => this.#claim(id, claim))
  }

  #claim (id: string, claim: Claim): Promise<ClaimResult> {
    const key = this.#keyPrefix + id
    const running = encodeRunning(claim, 1)
    return this.#redis.setBuffer(key, running, 'PX', timeToLive(claim), 'NX', 'GET').then(
      value => value === null ? FIRST_CLAIM : this.#follow(id, claim, running, decode(value)),
      (error: unknown) => { throw explained(error) }
    )
  }

  /** What to make of the record that has the key. */
  #follow (id: string, claim: Claim, running: string, found: DecodedRecord): ClaimResult | Promise<ClaimResult> {
    if (found.fingerprint !== claim.fingerprint) return { state: 'mismatch' }
    if (found.state === 'settled') return { state: 'settled', attempt: found.attempt, outcome: found.outcome }
    // The answer to this very claim was lost, and the client sent it again.
    if (found.state === 'running' && found.owner === claim.owner) return { state: 'claimed', attempt: found.attempt }
    return this.#takeOver(id, claim, running)
  }

  async #takeOver (id: string, claim: Claim, running: string): Promise<ClaimResult> {
    const [answer, detail] = await this.#run(scripts.takeOver, this.#keyPrefix + id, running) as [number, number]
    switch (answer) {
      case scripts.TAKE_OVER.claimed:
        return { state: 'claimed', attempt: detail }
      case scripts.TAKE_OVER.running:
        return { state: 'running', leaseLeft: detail }
      case scripts.TAKE_OVER.mismatch:
        return { state: 'mismatch' }
      default:
        // Settled since the first command, which finds the outcome now.
        return this.claim(id, claim)
    }
  }

  async renew (id: string, owned: OwnedClaim): Promise<boolean> {
    await this.#reachable()
    return await this.#run(scripts.renew, this.#keyPrefix + id, encodeRunning(owned, owned.attempt)) === 1
  }

  complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean> {
    return this.#isReady ? this.#complete(id, owned, outcome) : this.#reachable().then(() => this.#complete(id, owned, outcome))
  }

  #complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean> {
    const completion = scripts.completion(owned.owner, owned.retention, this.#wakeUps.channel)
    return this.#run(scripts.complete, this.#keyPrefix + id, encodeSettled(owned, outcome), completion).then(isOne)
  }

  async release (id: string, owned: OwnedClaim): Promise<boolean> {
    await this.#reachable()
    return await this.#run(scripts.release, this.#keyPrefix + id, encodeReleased(owned), this.#wakeUps.channel, id) === 1
  }

  async wait (id: string, timeout: number, signal: AbortSignal): Promise<void> {
    await this.#wakeUps.wait(id, timeout, signal, async () => {
      await this.#reachable()
      return await this.#run(scripts.markAwaited, this.#keyPrefix + id) === 1
    })
  }

  async find (id: string): Promise<StoredRecord | null> {
    await this.#reachable()
    const key = this.#keyPrefix + id
    const [value, expiresIn] = await Promise.all([this.#redis.getBuffer(key), this.#redis.pttl(key)])
    if (value === null) return null
    const found = decode(value)
    return {
      state: found.state,
      attempt: found.attempt,
      expiresIn: Math.max(0, expiresIn),
      leaseLeft: found.state === 'running' ? Math.max(0, found.lease - (found.timeToLive - expiresIn)) : null,
      outcome: found.state === 'settled' ? found.outcome : null
    }
  }

  async forget (id: string): Promise<boolean> {
    await this.#reachable()
    return await this.#redis.del(this.#keyPrefix + id) === 1
  }

  /** Lets go of the app's client, and closes the connection that was opened for those who wait. */
  close (): void {
    this.#redis.off('ready', this.#onReady)
    this.#wakeUps.close()
  }

  /** Asked first where every request comes by, which then need not wait for a promise. */
  get #isReady (): boolean {
    return this.#redis.status === 'ready'
  }

  #onReady = (): void => {
    this.#wasReady = true
    this.#firstReady.now()
  }

  /**
   * A client that lost its connection would queue commands until it has one again: a request is better told at once.
   * One that has never had a connection belongs to an app that starts, and is waited for.
   */
  async #reachable (): Promise<void> {
    if (this.#isReady) return
    const { status } = this.#redis
    if (this.#wasReady || status === 'end') {
      throw new StoreUnreachableError(`The Redis client is not connected (its status is '${status}')`)
    }
    // A lazy client connects on its first command.
    if (status === 'wait') return
    await this.#firstReady.orAfter(this.#connectTimeout)
    if (!this.#wasReady) {
      throw new StoreUnreachableError(`The Redis client did not connect within ${this.#connectTimeout} ms`)
    }
  }

  /** EVALSHA, and EVAL where Redis does not know the script yet (it restarted, or another node became the master). */
  #run (script: scripts.Script, key: string, ...args: Array<string | Buffer>): Promise<unknown> {
    return this.#redis.evalsha(script.sha, 1, key, ...args).catch((error: Error) => {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      return this.#redis.eval(script.lua, 1, key, ...args)
    })
  }
}

function isOne (answer: unknown): boolean {
  return answer === 1
}

function explained (error: unknown): unknown {
  return error instanceof Error && error.message.includes('syntax error')
    ? new Error('Redis 7.0 or later is needed: older ones do not know SET … NX GET', { cause: error })
    : error
}
