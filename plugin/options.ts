import {
  aBoolean, aFunction, aHeaderName, anInteger, aString, checkOptions, hasMethods, MAX_TIMER, oneOf, withoutUndefined
} from './shared/check-options.ts'
import type { Rule, RulesOf } from './shared/check-options.ts'
import { isVisibleAscii } from './shared/key-grammar.ts'
import { IdempotencyOptionError } from './shared/option-error.ts'
import { show } from './shared/show.ts'
import { isSupported } from './store/compression.ts'
import type { CompressionSettings } from './store/compression.ts'
import { MAX_BODY_SIZE, RECORD_VERSION, RECORD_VERSIONS } from './store/record.ts'
import type { CompressOptions, IdempotencyOptions, ReplayCacheOptions, RouteIdempotencyOptions } from './types.ts'

export { MAX_TIMER } from './shared/check-options.ts'

const DAY = 86_400_000
/** A record has six bytes for the sum of retention and lease. */
const MAX_RETENTION = 2 ** 48 - 2 ** 31

/** The options of one route, with defaults for those that were not given. */
export type RouteSettings =
  Required<Omit<RouteIdempotencyOptions, 'key' | 'fingerprint' | 'sanitize' | 'excludeHeaders'>> &
  Pick<RouteIdempotencyOptions, 'key' | 'fingerprint' | 'sanitize'> &
  { excludeHeaders: ReadonlySet<string> }

/** The options that only the registration of the plugin takes. */
type PluginOnlyOptions = Omit<IdempotencyOptions, keyof RouteIdempotencyOptions>

/** The options of the registration, with defaults for those that were not given. */
export interface PluginSettings
  extends Required<Omit<PluginOnlyOptions, 'redis' | 'store' | 'replayCache' | 'compress'>> {
  redis: IdempotencyOptions['redis'] | undefined
  store: IdempotencyOptions['store'] | undefined
  replayCache: Required<ReplayCacheOptions> | false
  compress: CompressionSettings | false
  /** The settings of a route that gives no options of its own. */
  route: RouteSettings
}

export const DOCS_URL = 'https://github.com/fastify-idempotency/fastify-idempotency#what-clients-see'

const ROUTE_RULES: RulesOf<RouteIdempotencyOptions> = {
  scope: aScope,
  header: aHeaderName,
  key: aFunction('(request) => string | number | undefined'),
  required: aBoolean,
  validateKey: aFunction('(key) => boolean'),
  fingerprint: aFunction('(request) => string | Buffer'),
  retention: anInteger(1, MAX_RETENTION, 'milliseconds'),
  lease: anInteger(1, MAX_TIMER, 'milliseconds'),
  maxExecution: anInteger(0, MAX_TIMER, 'milliseconds'),
  onConflict: oneOf('auto', 'wait', 'reject'),
  waitTimeout: anInteger(0, MAX_TIMER, 'milliseconds'),
  maxWaitersPerKey: anInteger(0, Number.MAX_SAFE_INTEGER, 'requests'),
  retryAfter: anInteger(0, MAX_TIMER, 'seconds'),
  onStoreError: oneOf('reject', 'bypass'),
  replayable: aFunction('(statusCode) => boolean'),
  maxBodySize: anInteger(0, MAX_BODY_SIZE, 'bytes'),
  journal: aJournalOrFalse,
  journalLookup: oneOf('retries', 'always'),
  journalAnswers: aBoolean,
  sanitize: aFunction('(response, request) => { headers, body }'),
  excludeHeaders: anArrayOfHeaderNames
}

const REPLAY_CACHE_RULES: RulesOf<ReplayCacheOptions> = {
  maxSize: anInteger(4_096, Number.MAX_SAFE_INTEGER, 'bytes'),
  maxAge: anInteger(1, MAX_TIMER, 'milliseconds')
}

const REPLAY_CACHE_DEFAULTS: Required<ReplayCacheOptions> = { maxSize: 16 * 1024 * 1024, maxAge: 5_000 }

const PLUGIN_RULES: RulesOf<PluginOnlyOptions> = {
  redis: hasMethods('an ioredis Redis or Cluster', [
    'setBuffer', 'evalsha', 'eval', 'getBuffer', 'pttl', 'on', 'once', 'off', 'duplicate'
  ]),
  store: hasMethods('a store', [
    'claim', 'renew', 'complete', 'release', 'withdraw', 'markLeft', 'wait', 'find', 'forget'
  ]),
  global: aBoolean,
  storeTimeout: anInteger(1, MAX_TIMER, 'milliseconds'),
  replayCache: aReplayCache,
  maxWaiters: anInteger(0, Number.MAX_SAFE_INTEGER, 'requests'),
  closeTimeout: anInteger(0, MAX_TIMER, 'milliseconds'),
  redisChecks: aBoolean,
  errors: oneOf('problem+json', 'error-handler'),
  docsUrl: anAbsoluteUrl,
  recordVersion: aRecordVersion,
  compress: aBooleanOrCompressOptions,
  keyPrefix: aString
}

const COMPRESS_RULES: RulesOf<CompressOptions> = {
  minSize: anInteger(0, MAX_BODY_SIZE, 'bytes'),
  algorithm: anAlgorithm
}

const COMPRESS_DEFAULTS: CompressionSettings = { minSize: 4_096, algorithm: 'brotli' }

const ROUTE_DEFAULTS = {
  header: 'idempotency-key',
  required: true,
  validateKey: isVisibleAscii,
  retention: DAY,
  lease: 30_000,
  maxExecution: 300_000,
  onConflict: 'auto',
  waitTimeout: 10_000,
  maxWaitersPerKey: 1_000,
  retryAfter: 1,
  onStoreError: 'reject',
  replayable: isFinalStatus,
  maxBodySize: 1_048_576,
  journal: false,
  journalLookup: 'retries',
  journalAnswers: false,
  excludeHeaders: new Set<string>()
} satisfies Partial<RouteSettings>

const PLUGIN_DEFAULTS = {
  global: false,
  storeTimeout: 1_000,
  maxWaiters: 10_000,
  closeTimeout: 25_000,
  redisChecks: true,
  errors: 'problem+json',
  docsUrl: DOCS_URL,
  recordVersion: RECORD_VERSION,
  keyPrefix: 'idem:'
} satisfies Omit<PluginSettings, 'redis' | 'store' | 'replayCache' | 'compress' | 'route'>

/**
 * Whether a response with this status is kept unless the option `replayable` decides otherwise. 408, 425 and 429 mean
 * "not now", and a status from 500 on does not say what happened: after these the next retry runs.
 */
export function isFinalStatus (statusCode: number): boolean {
  return statusCode < 500 && statusCode !== 408 && statusCode !== 425 && statusCode !== 429
}

/**
 * Options of Fastify's own `register`, which Fastify passes on to the plugin (@fastify/autoload adds a `prefix` to
 * every plugin that it finds in a folder). They have no effect on a plugin that runs in its parent's context, as this
 * one does.
 */
const REGISTER_OPTIONS = new Set(['prefix', 'logLevel', 'logSerializers'])

const WHERE = 'fastify-idempotency'

/** @throws {IdempotencyOptionError} that names the option and what it must be */
export function checkPluginOptions (given: IdempotencyOptions): PluginSettings {
  const options = without(REGISTER_OPTIONS, given)
  checkOptions(WHERE, { ...ROUTE_RULES, ...PLUGIN_RULES }, options)
  if (options.scope === undefined) {
    throw new IdempotencyOptionError(
      `${WHERE}: option "scope" is required: pass (request) => the id of the customer that the request acts for, ` +
      "or 'global' if all callers share one key space"
    )
  }
  checkStoreOptions(options)
  const { redis, store, scope, replayCache, compress, ...others } = withoutUndefined(options)
  return {
    ...PLUGIN_DEFAULTS,
    ...pick<Omit<PluginOnlyOptions, 'replayCache' | 'compress'>>(PLUGIN_RULES, others),
    redis,
    store,
    replayCache: replayCacheOf(replayCache),
    compress: compressionOf(compress),
    route: withDefaults(WHERE, { ...ROUTE_DEFAULTS, scope }, pick<RouteIdempotencyOptions>(ROUTE_RULES, others))
  }
}

/** Checks which of the options "redis" and "store" is given, and whether the others fit it. */
function checkStoreOptions (options: IdempotencyOptions): void {
  if (options.redis === undefined && options.store === undefined) {
    throw new IdempotencyOptionError(`${WHERE}: one of the options "redis" and "store" is required`)
  }
  if (options.redis !== undefined && options.store !== undefined) {
    throw new IdempotencyOptionError(`${WHERE}: the options "redis" and "store" exclude each other`)
  }
  if (options.recordVersion === 1 && compressionOf(options.compress) !== false) {
    throw new IdempotencyOptionError(
      `${WHERE}: the options "compress" and "recordVersion: 1" exclude each other: version 1 has no compressed bodies`
    )
  }
  for (const name of ['keyPrefix', 'recordVersion', 'redisChecks', 'compress'] as const) {
    if (options.store === undefined || options[name] === undefined) continue
    throw new IdempotencyOptionError(
      `${WHERE}: option "${name}" goes with "redis"; a store names, writes and checks its records itself`
    )
  }
}

/**
 * The settings of a route whose `config.idempotency` is `true` or an object.
 * @param where names the route, for messages
 * @throws {IdempotencyOptionError} that names the route, the option and what it must be
 */
export function checkRouteOptions (where: string, options: unknown, plugin: PluginSettings): RouteSettings {
  if (options === true) return plugin.route
  const route = `${WHERE}: ${where}`
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new IdempotencyOptionError(
      `${route}: config.idempotency must be true, false or an object of options, got ${show(options)}`
    )
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(PLUGIN_RULES, name)) {
      throw new IdempotencyOptionError(`${route}: option "${name}" can only be set where the plugin is registered`)
    }
  }
  checkOptions(route, ROUTE_RULES, options)
  const settings = withDefaults(route, plugin.route, options)
  const { journalAnswers, journalLookup }: RouteIdempotencyOptions = options
  // Where the plugin is registered these options are allowed: they may be meant for the routes that have a journal.
  if (settings.journal === false && (journalAnswers === true || journalLookup === 'always')) {
    throw new IdempotencyOptionError(
      `${route}: the options "journalLookup" and "journalAnswers" need a "journal", and this route has none`
    )
  }
  return settings
}

/** Completes the options of a route, which have been checked one by one, and checks that they fit together. */
function withDefaults (where: string, defaults: RouteSettings, options: RouteIdempotencyOptions): RouteSettings {
  const { header, excludeHeaders, ...others } = withoutUndefined(options)
  const settings: RouteSettings = {
    ...defaults,
    ...others,
    header: (header ?? defaults.header).toLowerCase(),
    excludeHeaders: excludeHeaders === undefined
      ? defaults.excludeHeaders
      : new Set(excludeHeaders.map(name => name.toLowerCase()))
  }
  if (settings.journal !== false && settings.onStoreError === 'bypass') {
    throw new IdempotencyOptionError(
      `${where}: the options "journal" and "onStoreError: 'bypass'" exclude each other: ` +
      'a run that is not protected writes no journal entry'
    )
  }
  return settings
}

function replayCacheOf (replayCache: IdempotencyOptions['replayCache'] = {}): Required<ReplayCacheOptions> | false {
  return replayCache !== false && { ...REPLAY_CACHE_DEFAULTS, ...withoutUndefined(replayCache) }
}

function compressionOf (compress: IdempotencyOptions['compress']): CompressionSettings | false {
  if (compress === undefined || compress === false) return false
  return { ...COMPRESS_DEFAULTS, ...compress === true ? {} : withoutUndefined(compress) }
}

function without (names: ReadonlySet<string>, options: IdempotencyOptions): IdempotencyOptions {
  const others = Object.entries(options).filter(([name]) => !names.has(name))
  return Object.fromEntries(others) as unknown as IdempotencyOptions
}

/** The options that there is a rule for. */
function pick<Options> (rules: RulesOf<Options>, options: object): Partial<Options> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(rules, name))) as Partial<Options>
}

function aScope (value: unknown): string | undefined {
  if (typeof value === 'function' || value === 'global') return undefined
  return "a function that returns whose key space a request's key belongs to, or 'global'"
}

function isObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function aReplayCache (value: unknown): string | undefined {
  if (value === false) return undefined
  if (!isObject(value)) return 'false or an object with "maxSize" and "maxAge"'
  checkOptions(`${WHERE}: option "replayCache"`, REPLAY_CACHE_RULES, value)
  return undefined
}

const aJournal: Rule = hasMethods('a journal, such as postgresJournal(app.pg), or false', ['record', 'find', 'purge'])

function aJournalOrFalse (value: unknown): string | undefined {
  return value === false ? undefined : aJournal(value)
}

function anArrayOfHeaderNames (value: unknown): string | undefined {
  const isCorrect = Array.isArray(value) && value.every(name => typeof name === 'string')
  return isCorrect ? undefined : 'an array of response header names'
}

function anAbsoluteUrl (value: unknown): string | undefined {
  // The URL is written into a Link header, between angle brackets.
  const isCorrect = typeof value === 'string' && URL.canParse(value) && !/[<>\s]/.test(value)
  return isCorrect ? undefined : 'an absolute URL'
}

function aBooleanOrCompressOptions (value: unknown): string | undefined {
  if (typeof value === 'boolean') return undefined
  if (!isObject(value)) return 'true, false or an object with "minSize" and "algorithm"'
  const named = <T>(options: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(options).map(([name, value]) => [`compress.${name}`, value]))
  checkOptions(WHERE, named({ ...COMPRESS_RULES }), named({ ...value }))
  return undefined
}

function anAlgorithm (value: unknown): string | undefined {
  const wrong = oneOf('brotli', 'zstd')(value)
  if (wrong !== undefined || isSupported(value as CompressionSettings['algorithm'])) return wrong
  return `'brotli': 'zstd' needs Node.js 22.15 or later, and this is ${process.version}`
}

function aRecordVersion (value: unknown): string | undefined {
  return (RECORD_VERSIONS as readonly unknown[]).includes(value) ? undefined : RECORD_VERSIONS.join(' or ')
}
