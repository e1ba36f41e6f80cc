import type { FastifyRequest } from 'fastify'
import type { Journal, Queryable } from './journal/journal.ts'
import type { Store } from './store/store.ts'
import type { RedisClient } from './store/redis.ts'

/** The key space that a request's key is looked up in: the global one, or the one that the function returns. */
export type Scope = 'global' | ((request: FastifyRequest) => string | number | PromiseLike<string | number>)

/**
 * The options that a route's `config.idempotency` object can have too. Each function may return a promise, and the
 * plugin waits for it. If `key`, `validateKey`, `scope` or `fingerprint` throws, rejects or returns a wrong value,
 * nothing runs. The client gets a 500, and the log says why. If the error has a status of its own, the client gets the
 * error.
 */
export interface RouteIdempotencyOptions {
  /**
   * The key space that keys are looked up in. The function must return a value that is the same for all retries, such
   * as a customer's id, and not a token. With `'global'` all callers share one key space.
   */
  scope?: Scope
  /** The request header that carries the key. Default `'idempotency-key'`. */
  header?: string
  /** Returns the key, in place of the header. `undefined`: the request has none. */
  key?: (request: FastifyRequest) => string | number | undefined | PromiseLike<string | number | undefined>
  /** Whether a request without a key is refused (`true`) or runs unprotected (`false`). Default `true`. */
  required?: boolean
  /** Whether a parsed key is valid. Default: 1 to 255 visible ASCII characters are valid. */
  validateKey?: (key: string) => boolean | PromiseLike<boolean>
  /**
   * Returns what makes two requests the same, in place of query and body. Method, path, media type and the route's
   * version and host always count too. Routes whose body cannot be read (a stream, multipart) need this option. The
   * plugin calls the function with the body as it was parsed, before validation and the route's own hooks. If it
   * throws, or returns nothing or an empty string, the plugin calls it once more at the claim. Use `canonicalJson` to
   * leave members out.
   */
  fingerprint?: (request: FastifyRequest) => string | Uint8Array | PromiseLike<string | Uint8Array>
  /** Milliseconds for which an outcome is kept after its completion. Default 86 400 000 (a day). */
  retention?: number
  /**
   * Milliseconds for which the store keeps the key for a silent owner. Renewed while the handler runs. Default 30 000.
   */
  lease?: number
  /** Milliseconds after which the lease of a running handler is not renewed any more. Default 300 000. */
  maxExecution?: number
  /**
   * What a duplicate of a running request gets.
   * - `'auto'`: a 409 while the owner's client is connected, and the owner's answer after that client has disconnected,
   *   since then the duplicate is its retry.
   * - `'wait'`: always the owner's answer.
   * - `'reject'`: always a 409, at once.
   *
   * Default `'auto'`.
   */
  onConflict?: 'auto' | 'wait' | 'reject'
  /** Milliseconds: how long a duplicate waits at most. Default 10 000. */
  waitTimeout?: number
  /** How many duplicates of one request may wait in a process. A further one gets a 409. Default 1 000. */
  maxWaitersPerKey?: number
  /** Seconds: the `Retry-After` of a 409 in progress and of a 503. Default 1. */
  retryAfter?: number
  /**
   * What happens if the store cannot be reached. `'reject'`: the client gets a 503, and nothing runs. `'bypass'`: the
   * request runs unprotected. Default `'reject'`.
   */
  onStoreError?: 'reject' | 'bypass'
  /**
   * Whether a response with this status is kept and replayed. Any other response releases the key. Default: status
   * codes below 500, except for 408, 425 and 429. By default a 408 does not release the key either, since the outcome
   * is not known: the lease must run out first.
   */
  replayable?: (statusCode: number) => boolean | PromiseLike<boolean>
  /** Bytes: the size of the largest response body that is kept. Default 1 048 576. */
  maxBodySize?: number
  /**
   * Where handlers store their outcome in their own transaction, with `request.idempotency.complete`. Such as
   * `postgresJournal(app.pg)`. `false`: this route has no journal. Cannot be combined with `onStoreError: 'bypass'`.
   * Default `false`.
   */
  journal?: Journal | false
  /**
   * When the plugin asks the journal before a handler runs. `'retries'`: if an earlier attempt may have committed.
   * `'always'`: before every run, so that a handler does nothing elsewhere (at a payment provider, for example) for a
   * key that Redis has forgotten. Default `'retries'`.
   */
  journalLookup?: 'retries' | 'always'
  /**
   * Whether the journal also keeps answers without a `complete`, such as refusals without an effect. The plugin writes
   * each of them in a statement of its own, before it sends the answer. Default `false`.
   */
  journalAnswers?: boolean
  /**
   * Removes or masks what must not be stored (a card number, a token), before a response is stored or written to the
   * journal. Replays send what it returns. `headers` or `body` that it does not return stay as they are. The first
   * answer is sent unchanged, but not before a returned promise has been fulfilled or rejected. If the function fails,
   * nothing of the response is kept, and the key is settled without it.
   */
  sanitize?: (
    response: SanitizableResponse,
    request: FastifyRequest
  ) => SanitizedResponse | PromiseLike<SanitizedResponse>
  /**
   * Response headers that are not kept, in addition to set-cookie, date and the hop-by-hop headers, which never are.
   */
  excludeHeaders?: readonly string[]
}

/** What `sanitize` returns: the parts of the response that it changes. */
export interface SanitizedResponse {
  headers?: Record<string, string | string[]>
  body?: string | Uint8Array
}

/** What `sanitize` gets of a response. */
export interface SanitizableResponse {
  statusCode: number
  /** The headers that are kept, by lower-case name. */
  headers: Record<string, string | string[]>
  /** A copy of the body's bytes. */
  body: Buffer
}

/** The memory from which a process answers duplicates without the store. */
export interface ReplayCacheOptions {
  /**
   * Bytes: the limit of the estimated size of all outcomes in it. The oldest ones leave first. An outcome that is
   * larger than a quarter of it is not kept. Default 16 777 216 (16 MiB).
   */
  maxSize?: number
  /**
   * Milliseconds: the longest time for which an outcome is used. A key that another process forgets may be answered
   * for this long. Default 5 000.
   */
  maxAge?: number
}

/** Which response bodies are compressed in Redis, and how. */
export interface CompressOptions {
  /** Bytes: smaller bodies are stored as they are. Default 4 096. */
  minSize?: number
  /**
   * `'zstd'` needs Node.js 22.15 or later in all processes that use the same records. `'brotli'` is read by every
   * Node.js that this package supports. Default `'brotli'`.
   */
  algorithm?: 'brotli' | 'zstd'
}

/** The options of `app.register(idempotency, …)`. The plugin checks them when the app is made ready. */
export interface IdempotencyOptions extends RouteIdempotencyOptions {
  scope: Scope
  /**
   * An ioredis `Redis` or `Cluster`, for Redis 7.0 or later. The app creates and closes it, and the plugin does not.
   */
  redis?: RedisClient
  /** The store of the records, in place of `redis`. Such as a `MemoryStore`. */
  store?: Store
  /** Whether to protect every POST and PATCH route without `idempotency: false`. Default `false`. */
  global?: boolean
  /** Milliseconds: how long the plugin waits for an answer of the store. Default 1 000. */
  storeTimeout?: number
  /**
   * How many outcomes a process keeps in its own memory, and for how long. A duplicate of the same request that finds
   * its outcome there is answered without the store, also while the store is away. `false`: every duplicate asks the
   * store. Never used with a `MemoryStore`. Default `{ maxSize: 16_777_216, maxAge: 5_000 }`.
   */
  replayCache?: ReplayCacheOptions | false
  /** How many duplicates of all keys may wait in a process. A further one gets a 409. Default 10 000. */
  maxWaiters?: number
  /**
   * Milliseconds: how long `app.close()` waits for everything that owns a key: handlers, including those whose client
   * has disconnected, work of `app.idempotency.run()`, and outcomes that the store does not have yet. Default 25 000.
   */
  closeTimeout?: number
  /**
   * Whether to check Redis when the app is made ready. `app.ready()` rejects if nothing could be protected (a version
   * below 7.0, a wrong password, a missing right, a replica). The log has a warning if keys may be lost (eviction, no
   * persistence), or if Redis cannot be reached yet. Default `true`. Only with `redis`.
   */
  redisChecks?: boolean
  /**
   * How the plugin reports problems. `'problem+json'`: it sends a problem document (RFC 9457). `'error-handler'`: it
   * throws an error, which the app's error handler gets. Default `'problem+json'`.
   */
  errors?: 'problem+json' | 'error-handler'
  /** The URL in the `type` of every problem and in its `Link: …; rel="describedby"`. Default: this package's README. */
  docsUrl?: string
  /**
   * The version of the records that the plugin writes to Redis. It reads versions 1 and 2. For a rolling change from
   * release 0.1, which reads only version 1, deploy with `1` first, and then without this option. Default 2. Only with
   * `redis`.
   */
  recordVersion?: 1 | 2
  /**
   * Whether response bodies are compressed before they are stored in Redis. `true`: with the defaults of
   * `CompressOptions`. All processes read compressed bodies, whatever this option says. Default `false`. Only with
   * `redis`, and not with `recordVersion: 1`.
   */
  compress?: boolean | CompressOptions
  /** The prefix of the names of Redis keys. Default `'idem:'`. Only with `redis`. */
  keyPrefix?: string
}

/** `request.idempotency` of a protected request. */
export interface RequestIdempotency {
  /** The key without the quotes of the header. */
  readonly key: string
  /** The scope that the key is looked up in. */
  readonly scope: string
  /**
   * 1 for a first run. More than 1: an earlier attempt started, and its outcome is not known, so check before you act.
   * The number only grows as long as the store remembers the key, so you can use it as a fencing token.
   */
  readonly attempt: number
  /** Whether this request is answered with a kept outcome. Then its handler does not run. */
  readonly replayed: boolean
  /** Aborts when ownership of the key is lost: the lease ran out, or another attempt owns the key. */
  readonly signal: AbortSignal
  /** Keep nothing of this run, whatever its answer is, and let the next retry run. */
  release (): void
  /**
   * On a route with a `journal`: store the outcome in your transaction, so that it is committed together with its
   * effects or not at all. Call it last in the transaction, and not in a savepoint. It resolves to `body` unchanged.
   * Return or send that after the transaction has committed. The route's response schema serializes the body in this
   * call. Call it once in a run. Call it again only in a new transaction, after the first one was rolled back.
   * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS` if another attempt has committed its outcome. Do not catch
   *   it: it must end the transaction and the handler. The client gets that outcome
   * @throws {TypeError} if `tx` is not in a transaction, or the answer is not valid
   */
  complete<T = undefined> (tx: Queryable, answer: JournalledAnswer<T>): Promise<T>
  /**
   * On a route with a `journal`: ask the journal, before you act elsewhere, whether it has an outcome for this key. Do
   * not call it in a transaction. Resolves if there is no outcome.
   * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS` if there is an outcome, and `FST_IDEMPOTENCY_KEY_REUSED`
   *   if it belongs to another request. Do not catch them: they must end the handler. The client gets the outcome, or a
   *   422. `FST_IDEMPOTENCY_STORE_UNAVAILABLE` if the journal cannot be asked
   */
  lookUp (): Promise<void>
}

/** The answer that a handler stores in its transaction. */
export interface JournalledAnswer<T> {
  /** Default 200, or 204 without a body. */
  statusCode?: number
  /** Headers in addition to those that were set on the reply. */
  headers?: Record<string, string | string[]>
  /** An object, which the response schema or JSON serializes, or text, or bytes. */
  body?: T
}

/** What an operator sees of a key. */
export interface FoundRecord {
  /** `unreadable`: written by another version of the plugin, or by something else. */
  state: 'running' | 'released' | 'settled' | 'unreadable'
  /** 0 if the record is unreadable. */
  attempt: number
  /** Milliseconds until the record is forgotten. */
  expiresIn: number
  /** Milliseconds for which the owner of a running record keeps the key even if it stays silent. Otherwise `null`. */
  leaseLeft: number | null
  /** `null` unless settled. */
  statusCode: number | null
  /** `null` unless settled with a response that was kept. */
  response: { headers: Record<string, string | string[]>, body: Buffer } | null
}

/** An operation that `app.idempotency.run` runs once. */
export interface Operation {
  /** The key space that the key is looked up in. */
  scope: string | number
  key: string | number
  /**
   * What makes two calls with one key the same, such as a message. Compared as JSON. Default: they are always the same.
   */
  fingerprint?: unknown
  /**
   * Milliseconds: how long to wait while another call does the work. If the other call succeeds, this call gets its
   * result. If it fails or dies, this call does the work. If this time is longer than the work takes and `lease`
   * together, the wait always ends with a result. Default: the option `waitTimeout` of the registration.
   */
  waitTimeout?: number
}

/** What the work of `app.idempotency.run` gets. */
export interface WorkContext {
  /** See `request.idempotency.attempt`. */
  readonly attempt: number
  /** Aborts when ownership of the key is lost. */
  readonly signal: AbortSignal
  /** Keep nothing of the returned value, and let the next call run. */
  release (): void
}

/** What this process has counted since the plugin was registered. */
export interface IdempotencyStats {
  /** First runs and later attempts that were let through to their handler. */
  claimed: number
  /** Of `claimed`, those with `attempt` above 1. */
  retried: number
  /** Outcomes stored. */
  completed: number
  /** Keys released after a run whose outcome is not kept. */
  released: number
  /** Duplicates that were answered with a kept outcome. */
  replayed: number
  /** Of `replayed`, those that were answered from this process's replay cache, without the store. */
  cached: number
  /** Requests that got a 409, because another request was running or its response was not kept. */
  conflicts: number
  /** Requests that got a 422. */
  mismatches: number
  /** Duplicates that were held for the owner's answer. */
  waited: number
  /** Runs that lost their key while the handler ran. */
  leasesLost: number
  /** Calls of the store that failed or took longer than `storeTimeout`. */
  storeErrors: number
  /** Answers from the journal, because Redis had lost the outcome or never got it. */
  recalled: number
  /** Requests that ran unprotected because of `onStoreError: 'bypass'`. */
  bypassed: number
  /** Runs at this moment: the handler is running, or it has ended and the store does not have the outcome yet. */
  running: number
  /** Duplicates that wait now. */
  waiting: number
  /** The length of the retry queue now: outcomes, releases and withdrawals that the store has not taken yet. */
  pending: number
  /** Outcomes in the replay cache now. 0 if it is off. */
  cacheEntries: number
  /** Bytes: the estimated size of the replay cache now. */
  cacheSize: number
}

/** `app.idempotency`: what operators and code outside of HTTP routes can do with keys. */
export interface Idempotency {
  /**
   * What is stored for a key, or `null`. Rejects with the store's error if the store cannot be reached, and with a
   * TypeError if the key or the scope is not valid.
   */
  find (key: string | number, scope: string | number): Promise<FoundRecord | null>
  /**
   * Forget a key, whatever its state is. The next request with this key runs as a first one, even if an earlier request
   * is still running. Resolves to whether there was a record.
   */
  forget (key: string | number, scope: string | number): Promise<boolean>
  /**
   * Do some work once for a key, outside of HTTP: for a message of a queue, in a cron job, or inside a handler. Claims,
   * leases, takeovers and waiting work as they do for requests, with the options of the registration. Later calls get
   * the JSON of the value that the first call returned. Work that throws releases the key, so that the next call runs
   * again.
   * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS`, `FST_IDEMPOTENCY_KEY_REUSED`,
   *   `FST_IDEMPOTENCY_NOT_REPLAYABLE`, `FST_IDEMPOTENCY_STORE_UNAVAILABLE`, or what the work throws
   */
  run<T> (operation: Operation, work: (context: WorkContext) => T | Promise<T>): Promise<T>
  stats (): IdempotencyStats
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Protects this route (`true`, or an object with options of its own), or excludes it from `global` (`false`). */
    idempotency?: boolean | (RouteIdempotencyOptions & object)
  }
  interface FastifyRequest {
    /** `null` on requests that are not protected. */
    idempotency: RequestIdempotency | null
  }
  interface FastifyInstance {
    idempotency: Idempotency
  }
}
