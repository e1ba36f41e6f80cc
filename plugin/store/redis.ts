import type { FastifyBaseLogger } from 'fastify'
import { BodyCompressor, decompress } from './compression.ts'
import type { CompressedBody, CompressionSettings } from './compression.ts'
import { forget } from './forgotten.ts'
import { decode, encodeReleased, encodeRunning, encodeSettled, RECORD_VERSION, timeToLive } from './record.ts'
import type { DecodedOwned, DecodedRecord, DecodedSettled, RecordVersion } from './record.ts'
import { explained, integer, isSyntaxError, oddAnswer, wasDone } from './redis-answers.ts'
import type { RedisClient } from './redis-client.ts'
import { checkRedis } from './redis-checks.ts'
import { RedisConnection } from './redis-connection.ts'
import * as scripts from './scripts.ts'
import { RecordUnreadableError, StoreRefusedError } from './store.ts'
import type { Claim, ClaimResult, Outcome, OwnedClaim, Store, StoredRecord } from './store.ts'
import { WakeUps } from './wake-ups.ts'
import { commandsOf } from './wire/index.ts'
import type { RedisCommands, ScriptValues, Value } from './wire/index.ts'

export type { RedisClient, RedisSubscriber } from './redis-client.ts'

export interface RedisStoreOptions {
  /** The prefix of the names of all keys and of the channel. */
  keyPrefix: string
  /** Milliseconds: how long a command waits for the client's first connection. */
  connectTimeout: number
  /**
   * The version of the records that this process writes. It reads both. A deployment that replaces a release which
   * reads only version 1 must write version 1 until no process of that release is left. Default 2.
   */
  recordVersion?: RecordVersion
  /** Which bodies are stored compressed. Default `false`: none. It reads compressed bodies in any case. */
  compress?: CompressionSettings | false
}

/** How often a claim reads the record again, if it has changed each time, before it gives up. */
const MAX_READS = 3
/** The answer of PTTL for a key that never expires. Every record of this store expires. */
const NO_EXPIRY = -1

const FIRST_CLAIM: ClaimResult = { state: 'claimed', attempt: 1 }

/**
 * Keeps records in Redis 7.0 or later. Each record has one Redis key: `keyPrefix` and the record's id. Claims and
 * completions, which every request needs, are chained promises: async functions would cost more than all the rest.
 */
export class RedisStore implements Store {
  readonly #redis: RedisClient
  readonly #commands: RedisCommands
  readonly #keyPrefix: string
  readonly #recordVersion: RecordVersion
  readonly #compressor: BodyCompressor | null
  readonly #connection: RedisConnection
  readonly #wakeUps: WakeUps
  readonly #closing = new AbortController()
  /** Whether Redis completes a key in one command of its own. A script does it until that is known, and elsewhere. */
  #canCompareAndSet = false

  constructor (redis: RedisClient, options: RedisStoreOptions) {
    this.#redis = redis
    this.#commands = commandsOf(redis, options.keyPrefix)
    this.#keyPrefix = options.keyPrefix
    this.#recordVersion = options.recordVersion ?? RECORD_VERSION
    this.#compressor = options.compress ? new BodyCompressor(options.compress) : null
    this.#connection = new RedisConnection(redis, options.connectTimeout)
    this.#wakeUps = new WakeUps(() => redis.duplicate(), `${options.keyPrefix}settled`)
  }

  claim (id: string, claim: Claim): Promise<ClaimResult> {
    if (this.#connection.isReady) return this.#claim(id, claim, 1)
    return this.#connection.reachable().then(() => this.#claim(id, claim, 1))
  }

  #claim (id: string, claim: Claim, reads: number): Promise<ClaimResult> {
    const running = encodeRunning(claim, 1, this.#recordVersion)
    return this.#commands.setIfAbsent(id, running, timeToLive(claim)).then(
      value => value === null ? FIRST_CLAIM : this.#claimExisting(id, claim, running, decode(value), reads),
      (error: unknown) => this.#claimWithoutWrite(id, claim, explained(error))
    )
  }

  /** Claims a key that has a record. */
  #claimExisting (
    id: string,
    claim: Claim,
    running: string,
    found: DecodedRecord,
    reads: number
  ): ClaimResult | Promise<ClaimResult> {
    const fingerprint = this.#fingerprintFor(found, claim)
    return resultOf(found, claim, fingerprint) ?? this.#takeOver(id, claim, running, fingerprint, reads)
  }

  /** The fingerprint that the record has if it belongs to the same request. Empty if that is not known. */
  #fingerprintFor (found: DecodedRecord, claim: Claim): string {
    return found.version === this.#recordVersion ? claim.fingerprint : claim.alternativeFingerprint?.() ?? ''
  }

  async #takeOver (
    id: string,
    claim: Claim,
    running: string,
    fingerprint: string,
    reads: number
  ): Promise<ClaimResult> {
    const permission = scripts.permission(claim.takeOver, fingerprint === claim.fingerprint ? '' : fingerprint)
    const answer = await this.#run(scripts.takeOver, id, running, permission)
    if (!Array.isArray(answer)) throw oddAnswer()
    switch (integer(answer[0])) {
      case scripts.TAKE_OVER.claimed:
        return { state: 'claimed', attempt: integer(answer[1]) }
      case scripts.TAKE_OVER.running:
        return { state: 'running', leaseLeft: integer(answer[1]), ownerLeft: wasDone(answer[2]) }
      case scripts.TAKE_OVER.mismatch:
        return { state: 'mismatch' }
      case scripts.TAKE_OVER.changed:
        // Usually the key was settled since the first command. That command, sent again, finds the outcome.
        if (reads < MAX_READS) return this.#claim(id, claim, reads + 1)
    }
    throw oddAnswer()
  }

  /** Redis refused the write. It may still be able to read the record, and some claims are answered from that alone. */
  async #claimWithoutWrite (id: string, claim: Claim, refused: unknown): Promise<ClaimResult> {
    if (!(refused instanceof StoreRefusedError)) throw refused
    try {
      const value = await this.#commands.get(id)
      if (value === null) throw refused
      const found = decode(value)
      const result = await resultOf(found, claim, this.#fingerprintFor(found, claim))
      if (result !== null) return result
      if (found.state !== 'running') throw refused
      const leaseLeft = leaseLeftOf(found, integer(await this.#commands.pttl(id)))
      if (leaseLeft === 0 && claim.takeOver) throw refused
      return { state: 'running', leaseLeft, ownerLeft: found.ownerLeft }
    } catch (error) {
      const reason = explained(error)
      throw reason instanceof RecordUnreadableError ? reason : refused
    }
  }

  async renew (id: string, owned: OwnedClaim): Promise<boolean> {
    await this.#connection.reachable()
    const running = encodeRunning(owned, owned.attempt, this.#recordVersion)
    return this.#run(scripts.renew, id, running).then(wasDone)
  }

  complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean> {
    const { response } = outcome
    const compressing = response !== null && this.#compressor?.compress(response)
    if (!compressing) return this.#complete(id, owned, outcome, null)
    return compressing.then(body => this.#complete(id, owned, outcome, body)).then((isOwner) => {
      this.#compressor?.forget(response)
      return isOwner
    })
  }

  #complete (id: string, owned: OwnedClaim, outcome: Outcome, body: CompressedBody | null): Promise<boolean> {
    if (this.#connection.isReady) return this.#settle(id, owned, outcome, body)
    return this.#connection.reachable().then(() => this.#settle(id, owned, outcome, body))
  }

  #settle (id: string, owned: OwnedClaim, outcome: Outcome, body: CompressedBody | null): Promise<boolean> {
    const settled = encodeSettled(owned, outcome, this.#recordVersion, body)
    const inOneCommand = this.#canCompareAndSet ? this.#compareAndSet(id, owned, settled) : undefined
    return inOneCommand ?? this.#completeByScript(id, owned, settled)
  }

  #compareAndSet (id: string, owned: OwnedClaim, settled: Value): Promise<boolean> | undefined {
    const running = encodeRunning(owned, owned.attempt, this.#recordVersion)
    return this.#commands.setIfEqual?.(id, settled, running, owned.retention).then(
      // The script knows all other records that the owner may complete, and wakes those who wait.
      written => written === null ? this.#completeByScript(id, owned, settled) : true,
      (error: unknown) => {
        const reason = explained(error)
        if (!(reason instanceof StoreRefusedError)) throw reason
        // A failover or a Cluster may bring another server, which does not know the command. And where Redis is full,
        // the script can still store an outcome without a response.
        if (isSyntaxError(error)) this.#canCompareAndSet = false
        return this.#completeByScript(id, owned, settled)
      }
    )
  }

  #completeByScript (id: string, owned: OwnedClaim, settled: Value): Promise<boolean> {
    const completion = scripts.completion(owned.owner, owned.retention, this.#wakeUps.channel)
    return this.#run(scripts.complete, id, settled, completion).then(wasDone)
  }

  async release (id: string, owned: OwnedClaim): Promise<boolean> {
    await this.#connection.reachable()
    const released = encodeReleased(owned, this.#recordVersion)
    return this.#run(scripts.release, id, released, this.#wakeUps.channel).then(wasDone)
  }

  async withdraw (id: string, { owner }: Claim): Promise<boolean> {
    await this.#connection.reachable()
    return this.#run(scripts.withdraw, id, owner, this.#wakeUps.channel).then(wasDone)
  }

  async markLeft (id: string, { owner }: OwnedClaim): Promise<boolean> {
    await this.#connection.reachable()
    return this.#run(scripts.markLeft, id, owner, this.#wakeUps.channel).then(wasDone)
  }

  async wait (id: string, timeout: number, signal: AbortSignal): Promise<void> {
    await this.#wakeUps.wait(id, timeout, signal, async () => {
      await this.#connection.reachable()
      return this.#run(scripts.markAwaited, id).then(wasDone)
    })
  }

  async find (id: string): Promise<StoredRecord | null> {
    await this.#connection.reachable()
    const [found, timeToLive] = await Promise.all([
      this.#commands.get(id).then(value => value && readRecord(value)).catch(unlessUnreadable),
      this.#commands.pttl(id).then(integer, rethrow)
    ])
    if (found === null) return null
    const expiresIn = timeToLive === NO_EXPIRY ? Infinity : Math.max(0, timeToLive)
    if (found === 'unreadable') return { state: 'unreadable', attempt: 0, expiresIn, leaseLeft: null, outcome: null }
    return {
      state: found.state,
      attempt: found.attempt,
      expiresIn,
      leaseLeft: found.state === 'running' ? leaseLeftOf(found, timeToLive) : null,
      outcome: found.state === 'settled' ? found.outcome : null
    }
  }

  async forget (id: string): Promise<boolean> {
    await this.#connection.reachable()
    return this.#run(forget, id, this.#wakeUps.channel).then(wasDone)
  }

  /**
   * Checks that Redis can be used. Call it once, before the app is ready.
   * @param patience milliseconds: how long it waits at most
   * @throws {RedisUnusableError} that says what is wrong, and what to do
   */
  async check (patience: number, log: FastifyBaseLogger): Promise<void> {
    await checkRedis(this.#redis, {
      keyPrefix: this.#keyPrefix,
      channel: this.#wakeUps.channel,
      patience,
      log,
      closing: this.#closing.signal,
      passed: ({ canCompareAndSet }) => { this.#canCompareAndSet = canCompareAndSet }
    })
  }

  onReady (listener: () => void): () => void {
    return this.#connection.onReady(listener)
  }

  onForgotten (listener: (id: string) => void): () => void {
    return this.#wakeUps.onForgotten(listener)
  }

  /** Removes all listeners from the app's client, and closes the connection that was opened for the waiters. */
  close (): void {
    this.#closing.abort()
    this.#connection.close()
    this.#wakeUps.close()
  }

  #run (script: scripts.Script, id: string, ...values: ScriptValues): Promise<unknown> {
    return this.#commands.evaluate('evalsha', script.sha, id, values).catch((error: unknown) => {
      const isUnknown = error instanceof Error && error.message.startsWith('NOSCRIPT')
      // Redis restarted, or another node serves the slot now.
      return isUnknown ? this.#commands.evaluate('eval', script.lua, id, values).catch(rethrow) : rethrow(error)
    })
  }
}

/**
 * The result of a claim as far as it follows from the record that was read, or `null` if the record may be replaced.
 */
function resultOf (
  found: DecodedRecord, claim: Claim, fingerprint: string
): ClaimResult | Promise<ClaimResult> | null {
  // A settled record of version 2 has only the beginning of the fingerprint, always in the same length.
  if (!fingerprint.startsWith(found.fingerprint)) return { state: 'mismatch' }
  if (found.state === 'settled') return settledResult(found)
  // This claim was granted before, but its answer was lost, and the client sent the command again.
  if (found.state === 'running' && found.owner === claim.owner) return { state: 'claimed', attempt: found.attempt }
  return null
}

function settledResult (found: DecodedSettled): ClaimResult | Promise<ClaimResult> {
  const { attempt, compression } = found
  if (compression === null) return { state: 'settled', attempt, outcome: found.outcome }
  return outcomeOf(found).then(outcome => ({ state: 'settled', attempt, outcome }))
}

/** The outcome with the body as it was before it was compressed. */
async function outcomeOf ({ outcome, compression }: DecodedSettled): Promise<Outcome> {
  const { statusCode, response } = outcome
  if (compression === null || response === null) return outcome
  const body = await decompress(response.body as Buffer, compression)
  return { statusCode, response: { headers: response.headers, body } }
}

async function readRecord (value: Buffer): Promise<DecodedRecord> {
  const found = decode(value)
  return found.state === 'settled' ? { ...found, outcome: await outcomeOf(found), compression: null } : found
}

/** @param timeToLive the rest of the record's time to live, in milliseconds, as Redis reports it */
function leaseLeftOf (found: DecodedOwned, timeToLive: number): number {
  return Math.min(found.lease, Math.max(0, found.lease - (found.timeToLive - timeToLive)))
}

function rethrow (error: unknown): never {
  throw explained(error)
}

function unlessUnreadable (error: unknown): 'unreadable' {
  const reason = explained(error)
  if (reason instanceof RecordUnreadableError) return 'unreadable'
  throw reason
}
