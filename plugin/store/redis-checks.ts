import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { isDoneWithin, Wake } from '../shared/wait.ts'
import { script } from './lua.ts'
import type { RedisClient } from './redis-client.ts'

/** Redis is set up in a way with which nothing can be protected. */
export class RedisUnusableError extends Error {
  override name = 'RedisUnusableError'
}

/**
 * Tries every command that the store sends or runs in its scripts, one by one.
 *
 * KEYS[1] a key that nobody uses, and that does not exist any more when this ends; ARGV[1] the channel that wakes
 * waiters
 * Returns {1 if Redis can compare and set in one command, else 0, name of a refused command, its error, …}
 */
const PROBE = script(`
  local compared = redis.pcall('SET', KEYS[1], '', 'IFEQ', '', 'PX', 1000)
  local refused = {type(compared) == 'table' and compared.err and 0 or 1}
  local function try (...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err then
      refused[#refused + 1] = (...)
      refused[#refused + 1] = answer.err
    end
  end
  try('SET', KEYS[1], '', 'PX', 1000, 'NX', 'GET')
  try('GET', KEYS[1])
  try('SETRANGE', KEYS[1], 0, '0')
  try('PEXPIRE', KEYS[1], 1000, 'NX')
  try('PTTL', KEYS[1])
  try('PUBLISH', ARGV[1], '')
  try('DEL', KEYS[1])
  return refused
`)

/** The SHA-1 of no script: a server that answers NOSCRIPT has permitted EVALSHA. */
const UNKNOWN_SHA = '0'.repeat(40)

/** The errors for a wrong password, of Redis 6 and later and of older versions, and for a missing password. */
const WRONG_PASSWORD = /^WRONGPASS |^ERR invalid password/
const NO_PASSWORD = /^NOAUTH /
/**
 * The errors for a missing right: outside of scripts, in the scripts of Redis 7.0, and in the scripts of later
 * versions. The last one is the error for a command that was renamed.
 */
const NO_RIGHT = /^NOPERM |The user executing the script can't|ACL failure in script|unknown (?:redis )?command/i
/** The errors of a Redis before 7.0 for SET … NX GET and PEXPIRE … NX. */
const TOO_OLD = /syntax error|wrong number of arg/i
const REPLICA = /^READONLY /

/** Milliseconds between two checks while the result is not known. The pause doubles after each check. */
const SHORTEST_PAUSE = 1_000
const LONGEST_PAUSE = 30_000

export interface RedisCheckOptions {
  keyPrefix: string
  channel: string
  /** Milliseconds: how long the start of the app waits for the result. */
  patience: number
  log: FastifyBaseLogger
  /** Aborts when the app closes. After that no listener is left on the client. */
  closing: AbortSignal
  /** Called once Redis can be used. */
  passed (facts: RedisFacts): void
}

export interface RedisFacts {
  /** Whether Redis knows `SET … IFEQ`, as Valkey 8.1 and Redis 8.4 do. */
  canCompareAndSet: boolean
}

/**
 * Finds out, before the app is ready, whether its Redis can protect requests. One round trip is enough if Redis can be
 * reached. If it cannot be reached, or accepts no writes at the moment, the app starts all the same, and the check is
 * repeated until its result is known. A client that connects with its first command (`lazyConnect`) is checked once it
 * has connected. In both cases the log says later what is wrong.
 * @throws {RedisUnusableError} that says what is wrong, and what to do
 */
export async function checkRedis (redis: RedisClient, options: RedisCheckOptions): Promise<void> {
  const { patience, log, closing } = options
  const isLazy = redis.status === 'wait'
  const result = checkOnce(redis, options)
  if (isLazy) {
    void checkUntilKnown(redis, options, result)
    return
  }
  try {
    if (!await isDoneWithin(result, patience)) throw new Error(`Redis did not answer within ${patience} ms`)
  } catch (error) {
    if (closing.aborted) return
    const cause = causeOfFailure(error)
    if (cause instanceof RedisUnusableError) throw cause
    log.warn({ err: factsOf(cause) }, 'idempotency: Redis could not be checked, and will be once it can be reached: ' +
      'until then protected requests are refused, or run unprotected, as "onStoreError" says')
    void checkUntilKnown(redis, options, result, cause)
  }
}

/** @throws what is wrong, also if an attempt to connect failed */
async function checkOnce (redis: RedisClient, options: RedisCheckOptions): Promise<void> {
  await connected(redis, options.closing)
  await checkServer(redis, options)
}

/**
 * Repeats the check until its result is known, and logs what is wrong.
 * @param result of the check that is under way
 * @param logged the error that has been logged already
 */
async function checkUntilKnown (
  redis: RedisClient,
  options: RedisCheckOptions,
  result: Promise<void>,
  logged?: Error
): Promise<void> {
  const { log, closing } = options
  for (let pause = SHORTEST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      return await result
    } catch (error) {
      if (closing.aborted) return
      const cause = causeOfFailure(error)
      // The same error is logged once, however long it lasts.
      if (cause.message !== logged?.message) logFailure(cause, log)
      logged = cause
      // An answer of Redis itself is final. A refused password is not: the client may have another one when it connects
      // again.
      if (error instanceof RedisUnusableError) return
    }
    await readyOrAfter(pause, redis, closing)
    result = checkOnce(redis, options)
  }
}

function logFailure (cause: Error, log: FastifyBaseLogger): void {
  if (cause instanceof RedisUnusableError) {
    log.error({ err: cause }, 'idempotency: Redis cannot be used: nothing is protected')
  } else {
    log.warn({ err: factsOf(cause) }, 'idempotency: Redis could not be checked')
  }
}

/**
 * Resolves once the client is ready. Rejects when an attempt to connect fails, or the app closes. After that it does
 * not listen for errors any more: ioredis prints errors that have no listener, and an app may rely on that.
 */
async function connected (redis: RedisClient, closing: AbortSignal): Promise<void> {
  closing.throwIfAborted()
  if (redis.status === 'ready') return
  if (redis.status === 'end') throw new Error('The Redis client has ended')
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      redis.off('ready', onReady)
      redis.off('error', onError)
      closing.removeEventListener('abort', onClosing)
    }
    const onReady = (): void => {
      stop()
      resolve()
    }
    const onError = (error: Error): void => {
      stop()
      reject(error)
    }
    const onClosing = (): void => onError(closing.reason as Error)
    redis.once('ready', onReady)
    redis.on('error', onError)
    closing.addEventListener('abort', onClosing)
  })
}

/** Resolves when the client is ready again, after `milliseconds`, or when the app closes. */
async function readyOrAfter (milliseconds: number, redis: RedisClient, closing: AbortSignal): Promise<void> {
  const ready = new Wake()
  redis.once('ready', ready.now)
  await ready.orAfter(milliseconds, closing, false)
  redis.off('ready', ready.now)
}

function causeOfFailure (error: unknown): Error {
  const cause = asError(error)
  return refusedPassword(cause) ?? cause
}

/** @param error of a client. The error of a Cluster contains the last error of a node */
function refusedPassword (error: Error & { lastNodeError?: unknown }): RedisUnusableError | null {
  const cause = error.lastNodeError instanceof Error ? error.lastNodeError : error
  if (WRONG_PASSWORD.test(cause.message)) {
    return unusable('it refuses the password. Give the client of the option "redis" the username and the password ' +
      'that Redis knows', cause)
  }
  if (NO_PASSWORD.test(cause.message)) {
    return unusable('it asks for a password, and the client has none. Give the client of the option "redis" a ' +
      'password, and a username if Redis has others than the default one', cause)
  }
  return null
}

/** @throws {RedisUnusableError} if Redis answers, and cannot be used */
async function checkServer (redis: RedisClient, options: RedisCheckOptions): Promise<void> {
  const { keyPrefix, channel, log, passed } = options
  const key = `${keyPrefix}check:${randomUUID()}`
  // These are sent together. Managed services forbid some of them: then the facts that they report are not known.
  const [evalSha, probed, info, saves] = await Promise.all([
    refusalOf(redis.evalsha(UNKNOWN_SHA, 1, key)),
    redis.eval(PROBE.lua, 1, key, channel).catch(asError),
    textOf(redis.info?.()),
    textOf(redis.config?.('GET', 'save'))
  ])
  const refused = refusedCommands(evalSha, probed)
  const fact = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1]

  if (refused.some(([, error]) => TOO_OLD.test(error.message))) {
    throw unusable(`version 7.0 or later is needed, and this one is ${fact('redis_version') ?? 'older'}. Upgrade it, ` +
      'or use Valkey', causeOf(refused, TOO_OLD))
  }
  const isReplica = refused.some(([, error]) => REPLICA.test(error.message))
  if (isReplica || (fact('role') === 'slave' && redis.isCluster !== true)) {
    throw unusable('it is a replica, which takes no writes or loses them. Connect the client of the option "redis" ' +
      'to the master', causeOf(refused, REPLICA))
  }
  const forbidden = refused.filter(([, error]) => NO_RIGHT.test(error.message)).map(([command]) => command)
  if (forbidden.length > 0) {
    throw unusable(`its user lacks the right to run ${forbidden.join(', ')} on keys and channels that begin with ` +
      `"${keyPrefix}". Grant it: +set +get +evalsha +eval +setrange +pttl +pexpire +del +publish +subscribe`,
    causeOf(refused, NO_RIGHT))
  }
  const [other] = refused
  if (other !== undefined) throw other[1]
  passed({ canCompareAndSet: Array.isArray(probed) && Number(probed[0]) === 1 })

  const policy = fact('maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction') {
    log.warn(`idempotency: Redis has the maxmemory-policy ${policy}, not noeviction: ` +
      'a full Redis forgets keys, and then their retries run again')
  }
  // If CONFIG is forbidden, it is not known whether Redis saves snapshots.
  if (fact('aof_enabled') === '0' && /^save,$/.test(saves)) {
    log.warn('idempotency: Redis keeps nothing on disk (appendonly no, and no save): ' +
      'a restart of Redis forgets all keys, and then their retries run again')
  }
}

/** The names of the commands that Redis refused, and its errors. */
function refusedCommands (evalSha: Error | null, probed: unknown): Array<[command: string, error: Error]> {
  const refused: Array<[string, Error]> = []
  if (evalSha !== null && !evalSha.message.startsWith('NOSCRIPT')) refused.push(['EVALSHA', evalSha])
  if (probed instanceof Error) refused.push(['EVAL', probed])
  if (!Array.isArray(probed)) return refused
  for (let i = 1; i + 1 < probed.length; i += 2) {
    refused.push([String(probed[i]), new Error(String(probed[i + 1]))])
  }
  return refused
}

function unusable (what: string, cause: Error | undefined): RedisUnusableError {
  const message = `fastify-idempotency: Redis cannot be used: ${what}`
  return new RedisUnusableError(message, { cause: cause && bareError(cause) })
}

function causeOf (refused: Array<[string, Error]>, pattern: RegExp): Error | undefined {
  return refused.find(([, error]) => pattern.test(error.message))?.[1]
}

async function refusalOf (call: Promise<unknown>): Promise<Error | null> {
  return call.then(() => null, asError)
}

function asError (error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/** The answer as text. It may be a list or, from some clients, an object. Empty if the command is forbidden. */
async function textOf (call: Promise<unknown> | undefined): Promise<string> {
  const answer = await call?.catch(() => '')
  if (typeof answer === 'string') return answer
  if (typeof answer !== 'object' || answer === null) return ''
  return (Array.isArray(answer) ? answer : Object.entries(answer).flat()).join()
}
