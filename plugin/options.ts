import { IdempotencyOptionError } from './errors.ts'
import { RECORD_VERSION, RECORD_VERSIONS } from './store/record.ts'
import type { IdempotencyOptions, RouteIdempotencyOptions } from './types.ts'

const DAY = 86_400_000
/** The longest that a timer of Node.js can hold. */
export const MAX_TIMER = 2 ** 31 - 1
/** A record's six bytes hold retention and lease together. */
const MAX_RETENTION = 2 ** 48 - 2 ** 31

/** The options that apply to one route, complete. */
export type RouteSettings =
  Required<Omit<RouteIdempotencyOptions, 'key' | 'fingerprint' | 'sanitize' | 'excludeHeaders'>> &
  Pick<RouteIdempotencyOptions, 'key' | 'fingerprint' | 'sanitize'> &
  { excludeHeaders: ReadonlySet<string> }

/** The options of the plugin as a whole, complete. */
export interface PluginSettings extends
  Required<Pick<IdempotencyOptions, 'global' | 'storeTimeout' | 'maxWaiters' | 'closeTimeout' | 'redisChecks' | 'recordVersion' | 'errors' | 'docsUrl' | 'keyPrefix'>> {
  redis: IdempotencyOptions['redis'] | undefined
  store: IdempotencyOptions['store'] | undefined
  /** What routes start from. */
  route: RouteSettings
}

export const DOCS_URL = 'https://github.com/fastify-idempotency/fastify-idempotency#what-clients-see'

/** Says what a value should have been, or nothing if it is that. */
type Rule = (value: unknown) => string | undefined

const ROUTE_RULES: Record<keyof RouteIdempotencyOptions, Rule> = {
  scope: value => typeof value === 'function' || value === 'global' ? undefined : "a function that returns whose key space a request's key belongs to, or 'global'",
  header: value => typeof value === 'string' && /^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(value) ? undefined : 'the name of a request header',
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
  maxBodySize: anInteger(0, 512 * 1024 * 1024 - 1, 'bytes'),
  journal: value => value === false ? undefined : hasMethods('a journal, such as postgresJournal(app.pg), or false', ['record', 'find', 'purge'])(value),
  journalLookup: oneOf('retries', 'always'),
  journalAnswers: aBoolean,
  sanitize: aFunction('(response, request) => { headers, body }'),
  excludeHeaders: value => Array.isArray(value) && value.every(name => typeof name === 'string') ? undefined : 'an array of response header names'
}

const PLUGIN_RULES: Record<Exclude<keyof IdempotencyOptions, keyof RouteIdempotencyOptions>, Rule> = {
  redis: hasMethods('an ioredis Redis or Cluster', ['setBuffer', 'evalsha', 'eval', 'getBuffer', 'pttl', 'del', 'on', 'once', 'off', 'duplicate']),
  store: hasMethods('a store', [
    'claim', 'renew', 'complete', 'release', 'withdraw', 'markLeft', 'wait', 'find', 'forget'
  ]),
  global: aBoolean,
  storeTimeout: anInteger(1, MAX_TIMER, 'milliseconds'),
  maxWaiters: anInteger(0, Number.MAX_SAFE_INTEGER, 'requests'),
  closeTimeout: anInteger(0, MAX_TIMER, 'milliseconds'),
  redisChecks: aBoolean,
  errors: oneOf('problem+json', 'error-handler'),
  docsUrl: value => typeof value === 'string' && URL.canParse(value) && !/[<>\s]/.test(value) ? undefined : 'an absolute URL',
  recordVersion: value => (RECORD_VERSIONS as readonly unknown[]).includes(value) ? undefined : RECORD_VERSIONS.join(' or '),
  keyPrefix: value => typeof value === 'string' ? undefined : 'a string'
}

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
  replayable: isSettling,
  maxBodySize: 1_048_576,
  journal: false,
  journalLookup: 'retries',
  journalAnswers: false,
  excludeHeaders: new Set<string>()
} satisfies Partial<RouteSettings>

/** What a key may be unless a `validateKey` says otherwise: 1 to 255 visible ASCII characters. */
export function isVisibleAscii (key: string): boolean {
  return /^[\x21-\x7e]{1,255}$/.test(key)
}

/** 408, 425 and 429 say "not now", and from 500 on nobody knows what happened: the next retry has to run. */
export function isSettling (statusCode: number): boolean {
  return statusCode < 500 && statusCode !== 408 && statusCode !== 425 && statusCode !== 429
}

/**
 * What `register` itself takes beside a plugin's options, and hands on to the plugin (@fastify/autoload gives a
 * `prefix` to whatever lies in a folder). Of a plugin in its parent's context, such as this one, Fastify makes nothing
 * of them.
 */
const OF_REGISTER = new Set(['prefix', 'logLevel', 'logSerializers'])

/** @throws {IdempotencyOptionError} naming the option and what it should have been. */
export function checkPluginOptions (given: IdempotencyOptions): PluginSettings {
  const options = Object.fromEntries(Object.entries(given).filter(([name]) => !OF_REGISTER.has(name))) as unknown as IdempotencyOptions
  check('', { ...ROUTE_RULES, ...PLUGIN_RULES }, options)
  if (options.scope === undefined) {
    throw new IdempotencyOptionError("fastify-idempotency: option \"scope\" is required: pass (request) => the id of the customer that the request acts for, or 'global' if all callers share one key space")
  }
  if ((options.redis === undefined) === (options.store === undefined)) {
    throw new IdempotencyOptionError(`fastify-idempotency: ${options.redis === undefined ? 'one of the options "redis" and "store" is required' : 'the options "redis" and "store" exclude each other'}`)
  }
  for (const name of ['keyPrefix', 'recordVersion', 'redisChecks'] as const) {
    if (options.store === undefined || options[name] === undefined) continue
    throw new IdempotencyOptionError(`fastify-idempotency: option "${name}" goes with "redis"; a store names, writes and checks its records itself`)
  }
  return {
    redis: options.redis,
    store: options.store,
    global: options.global ?? false,
    storeTimeout: options.storeTimeout ?? 1_000,
    maxWaiters: options.maxWaiters ?? 10_000,
    closeTimeout: options.closeTimeout ?? 25_000,
    errors: options.errors ?? 'problem+json',
    docsUrl: options.docsUrl ?? DOCS_URL,
    redisChecks: options.redisChecks ?? true,
    recordVersion: options.recordVersion ?? RECORD_VERSION,
    keyPrefix: options.keyPrefix ?? 'idem:',
    route: settle('', { ...ROUTE_DEFAULTS, scope: options.scope }, pickRouteOptions(options))
  }
}

/**
 * The settings of a route whose `config.idempotency` is `true` or an object.
 * @throws {IdempotencyOptionError} naming the route, the option and what it should have been.
 */
export function checkRouteOptions (where: string, options: unknown, plugin: PluginSettings): RouteSettings {
  if (options === true) return plugin.route
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new IdempotencyOptionError(`fastify-idempotency: ${where}: config.idempotency must be true, false or an object of options, got ${show(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(PLUGIN_RULES, name)) {
      throw new IdempotencyOptionError(`fastify-idempotency: ${where}: option "${name}" can only be set where the plugin is registered`)
    }
  }
  check(`${where}: `, ROUTE_RULES, options)
  return settle(`${where}: `, plugin.route, options)
}

function check (where: string, rules: Record<string, Rule>, options: object): void {
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    if (rule === undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency: ${where}unknown option "${name}"; known are ${Object.keys(rules).join(', ')}`)
    }
    const expected = value === undefined ? undefined : rule(value)
    if (expected !== undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency: ${where}option "${name}" must be ${expected}, got ${show(value)}`)
    }
  }
}

function settle (where: string, base: RouteSettings, options: RouteIdempotencyOptions): RouteSettings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as RouteIdempotencyOptions
  const settings: RouteSettings = {
    ...base,
    ...given,
    header: (given.header ?? base.header).toLowerCase(),
    excludeHeaders: given.excludeHeaders === undefined
      ? base.excludeHeaders
      : new Set(given.excludeHeaders.map(name => name.toLowerCase()))
  }
  if (settings.journal !== false && settings.onStoreError === 'bypass') {
    throw new IdempotencyOptionError(`fastify-idempotency: ${where}the options "journal" and "onStoreError: 'bypass'" exclude each other: what runs unprotected writes no journal`)
  }
  // Where the plugin is registered they may be meant for the routes that have one.
  if (where !== '' && settings.journal === false && (given.journalAnswers === true || given.journalLookup === 'always')) {
    throw new IdempotencyOptionError(`fastify-idempotency: ${where}the options "journalLookup" and "journalAnswers" need a "journal", and this route has none`)
  }
  return settings
}

function pickRouteOptions (options: IdempotencyOptions): RouteIdempotencyOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(ROUTE_RULES, name)))
}

function aBoolean (value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'true or false'
}

function aFunction (signature: string): Rule {
  return value => typeof value === 'function' ? undefined : `a function ${signature}`
}

function anInteger (min: number, max: number, unit: string): Rule {
  return value => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
    ? undefined
    : `a whole number of ${unit} from ${min} to ${max}`
}

function oneOf (...allowed: string[]): Rule {
  return value => allowed.includes(value as string) ? undefined : allowed.map(name => `'${name}'`).join(' or ')
}

function hasMethods (what: string, methods: string[]): Rule {
  return (value) => {
    if (typeof value !== 'object' || value === null) return what
    const missing = methods.filter(name => typeof (value as Record<string, unknown>)[name] !== 'function')
    return missing.length === 0 ? undefined : `${what}; this one has no ${missing.join(', ')}`
  }
}

function show (value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
