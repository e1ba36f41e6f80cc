import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { bareError, factsOf } from '../shared/error-facts.ts'
import { isDoneWithin, Wake } from '../shared/wait.ts'
import { script } from './lua.ts'
import type { RedisClient } from './redis-client.ts'

/** Redis is not as it must be: nothing could be protected. */
export class RedisUnusableError extends Error {
  override name = 'RedisUnusableError'
}

/**
 * Every command that the store sends or runs in its scripts, each by itself, and what it is refused with.
 *
 * KEYS[1] a key that nobody has, and that is gone again when this ends; ARGV[1] the channel that wakes those who wait
 * Answers {name of a command that was refused, error, …}
 */
const PROBE = script(`
  local refused = {}
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

/** Of no script: a server that answers NOSCRIPT lets EVALSHA be run. */
const NO_SCRIPT = '0'.repeat(40)

/** What is said of a wrong or missing password, by Redis 6 and later, and before. */
const WRONG_PASSWORD = /^WRONGPASS |^ERR invalid password/
const NO_PASSWORD = /^NOAUTH /
/** An access list says so natively, in scripts of Redis 7.0, and in those of later ones. The last: a command that was renamed. */
const NO_RIGHT = /^NOPERM |The user executing the script can't|ACL failure in script|unknown (?:redis )?command/i
/** What a Redis before 7.0 says of SET … NX GET and PEXPIRE … NX. */
const TOO_OLD = /syntax error|wrong number of arg/i
const REPLICA = /^READONLY /

/** Milliseconds between two looks at a Redis of which it is not known how it is: twice as long each time. */
const SHORTEST_PAUSE = 1_000
const LONGEST_PAUSE = 30_000

export interface RedisCheckOptions {
  keyPrefix: string
  channel: string
  /** Milliseconds for which the start of the app waits for the answers. */
  patience: number
  log: FastifyBaseLogger
  /** Aborts when the app closes: nothing listens to the client after that. */
  closing: AbortSignal
}

/**
 * Finds out, before the app is ready, whether its Redis will work on the day that it is needed: in one round trip, if it
 * can be reached. One that cannot be reached, or takes no writes just now, does not keep the app from starting: it is
 * looked at until that is known. So is that of a client which connects only when it is asked (`lazyConnect`), once it
 * does. The log says what is wrong then.
 * @throws {RedisUnusableError} saying what is wrong, and what to do
 */
export async function checkRedis (redis: RedisClient, options: RedisCheckOptions): Promise<void> {
  const { patience, log, closing } = options
  const isLazy = redis.status === 'wait'
  const answer = look(redis, options)
  if (isLazy) {
    void lookAgain(redis, options, answer)
    return
  }
  try {
    if (!await isDoneWithin(answer, patience)) throw new Error(`Redis did not answer within ${patience} ms`)
  } catch (error) {
    if (closing.aborted) return
    const cause = causeOfFailure(error)
    if (cause instanceof RedisUnusableError) throw cause
    log.warn({ err: factsOf(cause) }, 'idempotency: Redis could not be checked, and will be once it can be reached: until then what is protected is refused, or runs unprotected, as "onStoreError" says')
    void lookAgain(redis, options, answer, cause)
  }
}

/** @throws what is wrong, also if a try to connect failed */
async function look (redis: RedisClient, options: RedisCheckOptions): Promise<void> {
  await contact(redis, options.closing)
  await ask(redis, options)
}

/**
 * Until it is known how Redis is.
 * @param answer of the look that is under way
 * @param told what the log has been told already
 */
async function lookAgain (redis: RedisClient, options: RedisCheckOptions, answer: Promise<void>, told?: Error): Promise<void> {
  const { log, closing } = options
  for (let pause = SHORTEST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      return await answer
    } catch (error) {
      if (closing.aborted) return
      const cause = causeOfFailure(error)
      // The same trouble is told once, however long it lasts.
      if (cause.message !== told?.message) {
        if (cause instanceof RedisUnusableError) log.error({ err: cause }, 'idempotency: Redis cannot be used: nothing is protected')
        else log.warn({ err: factsOf(cause) }, 'idempotency: Redis could not be checked')
      }
      told = cause
      // What Redis itself answered is final. A refused password may be another one when the client connects again.
      if (error instanceof RedisUnusableError) return
    }
    await readyOrAfter(pause, redis, closing)
    answer = look(redis, options)
  }
}

/**
 * Resolves once the client is ready. Rejects when a try to connect failed, or the app closes. It listens for errors
 * no longer than that: ioredis prints those that nobody listens for, and an app may rely on it.
 */
async function contact (redis: RedisClient, closing: AbortSignal): Promise<void> {
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

/** @param error of a client; a Cluster's has what its nodes said on it */
function refusedPassword (error: Error & { lastNodeError?: unknown }): RedisUnusableError | null {
  const cause = error.lastNodeError instanceof Error ? error.lastNodeError : error
  if (WRONG_PASSWORD.test(cause.message)) return unusable('it refuses the password. Give the client of the option "redis" the username and the password that Redis knows', cause)
  if (NO_PASSWORD.test(cause.message)) return unusable('it asks for a password, and the client has none. Give the client of the option "redis" a password, and a username if Redis has others than the default one', cause)
  return null
}

/** @throws {RedisUnusableError} */
async function ask (redis: RedisClient, { keyPrefix, channel, log }: RedisCheckOptions): Promise<void> {
  const key = `${keyPrefix}check:${randomUUID()}`
  // Sent together. Managed services forbid some: what they would have told is not known then.
  const [known, probed, info, saves] = await Promise.all([
    refusalOf(redis.evalsha(NO_SCRIPT, 1, key)),
    redis.eval(PROBE.lua, 1, key, channel).catch(asError),
    textOf(redis.info?.()),
    textOf(redis.config?.('GET', 'save'))
  ])
  const refused = refusedCommands(known, probed)
  const fact = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1]

  if (refused.some(([, error]) => TOO_OLD.test(error.message))) {
    throw unusable(`version 7.0 or later is needed, and this one is ${fact('redis_version') ?? 'older'}. Upgrade it, or take a Valkey`, causeOf(refused, TOO_OLD))
  }
  if (refused.some(([, error]) => REPLICA.test(error.message)) || (fact('role') === 'slave' && redis.isCluster !== true)) {
    throw unusable('it is a replica, which takes no writes or loses them. Connect the client of the option "redis" to the master', causeOf(refused, REPLICA))
  }
  const forbidden = refused.filter(([, error]) => NO_RIGHT.test(error.message)).map(([command]) => command)
  if (forbidden.length > 0) {
    throw unusable(`its user has not the right to run ${forbidden.join(', ')} on keys and channels that begin with "${keyPrefix}". Grant it: +set +get +evalsha +eval +setrange +pttl +pexpire +del +publish +subscribe`, causeOf(refused, NO_RIGHT))
  }
  const [other] = refused
  if (other !== undefined) throw other[1]

  const policy = fact('maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction') {
    log.warn(`idempotency: Redis has the maxmemory-policy ${policy}, not noeviction: when it is full it forgets keys, and a retry of theirs runs again`)
  }
  // Where CONFIG is forbidden it is not known whether there are snapshots.
  if (fact('aof_enabled') === '0' && /^save,$/.test(saves)) {
    log.warn('idempotency: Redis keeps nothing on disk (appendonly no, and no save): when it restarts all keys are forgotten, and retries run again')
  }
}

/** The commands that were refused, by name, with what Redis said. @throws what is no answer of Redis's */
function refusedCommands (known: Error | null, probed: unknown): Array<[command: string, error: Error]> {
  const refused: Array<[string, Error]> = []
  if (known !== null && !known.message.startsWith('NOSCRIPT')) refused.push(['EVALSHA', known])
  if (probed instanceof Error) refused.push(['EVAL', probed])
  else if (Array.isArray(probed)) for (let i = 0; i + 1 < probed.length; i += 2) refused.push([String(probed[i]), new Error(String(probed[i + 1]))])
  return refused
}

function unusable (what: string, cause: Error | undefined): RedisUnusableError {
  return new RedisUnusableError(`fastify-idempotency: Redis cannot be used: ${what}`, { cause: cause && bareError(cause) })
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

/** An answer that may be forbidden, and may be a list or, from some clients, an object. */
async function textOf (call: Promise<unknown> | undefined): Promise<string> {
  const answer = await call?.catch(() => '')
  if (typeof answer === 'string') return answer
  return typeof answer === 'object' && answer !== null ? (Array.isArray(answer) ? answer : Object.entries(answer).flat()).join() : ''
}
