import type { FastifyRequest } from 'fastify'
import type { Journal, Queryable } from './journal/journal.ts'
import type { Store } from './store/store.ts'
import type { RedisClient } from './store/redis.ts'

/** Whose key space a request's key is looked up in: the shared one, or that of what the function returns. */
export type Scope = 'global' | ((request: FastifyRequest) => string | number | PromiseLike<string | number>)

/**
 * The options that may also stand in a route's `config.idempotency` object. Each function may return a promise, which
 * is waited for. Where `key`, `validateKey`, `scope` or `fingerprint` throws, rejects or answers something else, the
 * request is a 500 that the log explains, and nothing runs; an error with a status of its own is the answer.
 */
export interface RouteIdempotencyOptions {
  /**
   * Whose key space. A key is only ever looked up within its scope, so the function must return something that
   * stays the same between retries (a customer's id, not a token). `'global'` shares one space between all callers.
   */
  scope?: Scope
  /** The request header that carries the key. Default `'idempotency-key'`. */
  header?: string
  /** Where the key comes from instead of the header; `undefined` says that the request has none. */
  key?: (request: FastifyRequest) => string | number | undefined | PromiseLike<string | number | undefined>
  /** Whether a request without a key is refused (`true`, the default) or runs unprotected (`false`). */
  required?: boolean
  /** Accepts a parsed key. Default: 1 to 255 visible ASCII characters. */
  validateKey?: (key: string) => boolean | PromiseLike<boolean>
  /**
   * What makes two requests the same, instead of query and body. Method, path, media type and the route's version and
   * host always count. Needed on routes whose body cannot be read (a stream, multipart). Called with the body as it was
   * parsed, before validation and the route's own hooks; if it throws then, or returns nothing or an empty text, once
   * more at the claim. `canonicalJson` helps to leave members out.
   */
  fingerprint?: (request: FastifyRequest) => string | Uint8Array | PromiseLike<string | Uint8Array>
  /** Milliseconds for which an outcome is kept, from its completion. Default 86 400 000 (a day). */
  retention?: number
  /** Milliseconds for which a silent owner keeps the key. Renewed while the handler runs. Default 30 000. */
  lease?: number
  /** Milliseconds after which the lease of a running handler is no longer renewed. Default 300 000. */
  maxExecution?: number
  /**
   * What a duplicate of a running request gets. `'auto'`, the default: a 409 while the owner's own client is still
   * connected; the owner's answer once it has left, since then the duplicate is that client's retry. `'wait'`: always
   * the owner's answer. `'reject'`: always a 409, at once.
   */
  onConflict?: 'auto' | 'wait' | 'reject'
  /** Milliseconds for which a duplicate is held at most. Default 10 000. */
  waitTimeout?: number
  /** How many duplicates of one request may be held in a process; a further one gets a 409. Default 1 000. */
  maxWaitersPerKey?: number
  /** Seconds: the `Retry-After` of a 409 in progress and of a 503. Default 1. */
  retryAfter?: number
  /** When the store cannot be reached: a 503 and nothing runs (`'reject'`, the default), or run unprotected. */
  onStoreError?: 'reject' | 'bypass'
  /**
   * Which responses are kept and replayed; others release the key. Default: below 500 and not 408, 425 or 429. By
   * default a 408 does not release the key either, since nobody knows the outcome: its lease has to run out.
   */
  replayable?: (statusCode: number) => boolean | PromiseLike<boolean>
  /** Bytes: the largest response body that is kept. Default 1 048 576. */
  maxBodySize?: number
  /**
   * Where handlers store their outcome in their own transaction, by `request.idempotency.complete`: one of
   * `postgresJournal(app.pg)`. `false`: not on this route. Goes with `onStoreError: 'reject'`.
   */
  journal?: Journal | false
  /**
   * When the journal is asked before a handler runs: if an earlier attempt may have committed (`'retries'`, the
   * default), or always, so that nothing is done elsewhere (at a payment provider, say) for a key that Redis has
   * forgotten.
   */
  journalLookup?: 'retries' | 'always'
  /**
   * Whether the journal keeps answers that handlers did not complete with, too: refusals without an effect, say. Each
   * in a statement of its own, before it is sent. Default `false`.
   */
  journalAnswers?: boolean
  /**
   * Drops or masks what must not rest in the store (a card number, a token), before a response is stored or journalled.
   * What it returns is what replays serve; what it leaves out stays as it is. The first answer is sent as it is, once a
   * promise is settled. If it fails, nothing of the response is kept: the key settles as not replayable.
   */
  sanitize?: (response: SanitizableResponse, request: FastifyRequest) => SanitizedResponse | PromiseLike<SanitizedResponse>
  /** Response headers that are not kept, beyond those that never are (set-cookie, date, the hop-by-hop ones). */
  excludeHeaders?: readonly string[]
}

/** What `sanitize` leaves of a response. */
export interface SanitizedResponse {
  headers?: Record<string, string | string[]>
  body?: string | Uint8Array
}

/** What `sanitize` is shown of a response. */
export interface SanitizableResponse {
  statusCode: number
  /** Those that are kept, by lower-case name. */
  headers: Record<string, string | string[]>
  /** A copy of the bytes. */
  body: Buffer
}

/** What `app.register(idempotency, …)` takes. Checked when the app is made ready. */
export interface IdempotencyOptions extends RouteIdempotencyOptions {
  scope: Scope
  /** An ioredis `Redis` or `Cluster`, Redis 7.0 or later. The app's: never created, never closed by the plugin. */
  redis?: RedisClient
  /** Where records live instead of `redis`, such as a `MemoryStore`. */
  store?: Store
  /** Protect every POST and PATCH route that does not say `idempotency: false`. Default `false`. */
  global?: boolean
  /** Milliseconds: the longest wait for an answer of the store. Default 1 000. */
  storeTimeout?: number
  /** How many duplicates may be held in a process, of all keys together; a further one gets a 409. Default 10 000. */
  maxWaiters?: number
  /**
   * Milliseconds for which `app.close()` waits for what owns a key: handlers, also those whose client has left, work of
   * `app.idempotency.run()`, and outcomes that the store does not have yet. Default 25 000.
   */
  closeTimeout?: number
  /**
   * Whether Redis is looked at when the app is made ready. What is definitely wrong (a version below 7.0, a wrong
   * password, a missing right, a replica) rejects; what is doubtful (eviction, no persistence), and a Redis that cannot
   * be reached yet, is a warning. Default `true`. Only with `redis`.
   */
  redisChecks?: boolean
  /** Problems are sent as RFC 9457 `problem+json` (the default), or thrown to the app's own error handler. */
  errors?: 'problem+json' | 'error-handler'
  /** The `type` of every problem and the target of its `Link: …; rel="describedby"`. */
  docsUrl?: string
  /**
   * The version of the records that are written to Redis; 1 and 2 are read. Default 2. For a rolling change from 0.1,
   * which reads 1 only: deploy with 1 first, then without. Only with `redis`.
   */
  recordVersion?: 1 | 2
  /** What the names of Redis keys start with. Default `'idem:'`. Only with `redis`. */
  keyPrefix?: string
}

/** `request.idempotency` of a protected request. */
export interface RequestIdempotency {
  /** The key as the client meant it: without quotes. */
  readonly key: string
  /** The scope that the key is looked up in. */
  readonly scope: string
  /**
   * 1 on a first run. More says: an earlier attempt started and its outcome is not known, so check before you act.
   * It only grows while the key is remembered, so it serves as a fencing token.
   */
  readonly attempt: number
  /** Whether this request is answered with a kept outcome; its handler does not run. */
  readonly replayed: boolean
  /** Aborts when ownership of the key is lost: the lease ran out, or another attempt owns the key. */
  readonly signal: AbortSignal
  /** Keep nothing of this run, whatever is answered, and let the next retry run. */
  release (): void
  /**
   * On a route with a `journal`: store the outcome in your transaction, so that it is committed together with its
   * effects or not at all. Call it last; return or send what it resolves to, which is `body` as it is, once the
   * transaction has committed. Not in a savepoint. The body passes through the route's response schema here. Once in a
   * run; again only in a new transaction, after the first was rolled back.
   * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS` if another attempt has committed its outcome. Let it end
   *   the transaction and the handler: the client gets that outcome.
   * @throws {TypeError} if `tx` is not in a transaction, or the answer not one
   */
  complete<T = undefined> (tx: Queryable, answer: JournalledAnswer<T>): Promise<T>
  /**
   * On a route with a `journal`: ask it, before you act elsewhere, whether an outcome stands there for this key. Not in
   * a transaction. Resolves if there is none.
   * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS` if there is one, `FST_IDEMPOTENCY_KEY_REUSED` if it is
   *   that of another request. Let it end the handler: the client gets that outcome, or a 422.
   *   `FST_IDEMPOTENCY_STORE_UNAVAILABLE` if the journal cannot be asked
   */
  lookUp (): Promise<void>
}

/** What a handler stores in its transaction, and answers. */
export interface JournalledAnswer<T> {
  /** Default 200; 204 without a body. */
  statusCode?: number
  /** Beside those that were set on the reply. */
  headers?: Record<string, string | string[]>
  /** An object for the response schema (or JSON), or text, or bytes. */
  body?: T
}

/** What an operator sees of a key. */
export interface FoundRecord {
  /** `unreadable`: written by another version of the plugin, or not by it at all. */
  state: 'running' | 'released' | 'settled' | 'unreadable'
  /** 0 if it is unreadable. */
  attempt: number
  /** Milliseconds until the record is forgotten. */
  expiresIn: number
  /** Milliseconds for which the owner of a running record keeps the key even if it stays silent; else `null`. */
  leaseLeft: number | null
  /** Of a settled record, else `null`. */
  statusCode: number | null
  /** Of a settled record whose response was kept, else `null`. */
  response: { headers: Record<string, string | string[]>, body: Buffer } | null
}

/** What `app.idempotency.run` does once. */
export interface Operation {
  /** Whose key space. */
  scope: string | number
  key: string | number
  /** What makes two calls with one key the same, as JSON: the message, say. Default: any two are. */
  fingerprint?: unknown
  /**
   * Milliseconds: how long to wait, while another call does the work, for what comes of it, and to do it if that fails
   * or dies. If it is longer than the work takes and `lease` together, the wait always ends with a result. Default: as
   * the options of the registration say.
   */
  waitTimeout?: number
}

/** What work of `app.idempotency.run` is told. */
export interface WorkContext {
  /** As `request.idempotency.attempt`. */
  readonly attempt: number
  /** Aborts when ownership of the key is lost. */
  readonly signal: AbortSignal
  /** Keep nothing of what is returned, and let the next call run. */
  release (): void
}

/** Counts since the plugin was registered, in this process. */
export interface IdempotencyStats {
  /** First runs and later attempts that were let through to their handler. */
  claimed: number
  /** Of `claimed`, those with `attempt` above 1. */
  retried: number
  /** Outcomes stored. */
  completed: number
  /** Keys released after a run whose outcome is not kept. */
  released: number
  /** Answered with a kept outcome. */
  replayed: number
  /** Answered 409 because another request was running, or since its response was not kept. */
  conflicts: number
  /** Answered 422. */
  mismatches: number
  /** Duplicates that were held until the owner settled or `waitTimeout` was over. */
  waited: number
  /** Owners that lost their key while their handler ran. */
  leasesLost: number
  /** Calls of the store that failed or took longer than `storeTimeout`. */
  storeErrors: number
  /** Outcomes that the journal had, which Redis had lost or never got. */
  recalled: number
  /** Requests that ran unprotected because of `onStoreError: 'bypass'`. */
  bypassed: number
  /** Handlers that run now, and those that ended and whose outcome the store does not have yet. */
  running: number
  /** Duplicates that are held now. */
  waiting: number
  /** Completions and releases that the store has yet to take, and claims that are to be undone, now. */
  pending: number
}

/** `app.idempotency`: an operator's look and eraser. */
export interface Idempotency {
  /**
   * What is stored for a key, or `null`. Throws the store's error if it cannot be asked,
   * and a TypeError if key or scope is none.
   */
  find (key: string | number, scope: string | number): Promise<FoundRecord | null>
  /**
   * Forget a key, whatever state it is in: the next request with it runs as a first one, even if an earlier one
   * is still running. Resolves to whether there was a record.
   */
  forget (key: string | number, scope: string | number): Promise<boolean>
  /**
   * Does some work once for a key, beyond HTTP: for a message of a queue, a cron job, or inside a handler. The same
   * claim, lease, take-over and waiting as for a request, by the options that the plugin was registered with; later
   * calls get the JSON of the value that the first one returned. Work that throws gives the key back, and so runs anew
   * next time.
   * @throws {IdempotencyError} `FST_IDEMPOTENCY_IN_PROGRESS`, `FST_IDEMPOTENCY_KEY_REUSED`,
   *   `FST_IDEMPOTENCY_NOT_REPLAYABLE`, `FST_IDEMPOTENCY_STORE_UNAVAILABLE`, or what the work throws
   */
  run<T> (operation: Operation, work: (context: WorkContext) => T | Promise<T>): Promise<T>
  stats (): IdempotencyStats
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Protect this route (`true`, or an object with options of its own), or leave it out of `global` (`false`). */
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
