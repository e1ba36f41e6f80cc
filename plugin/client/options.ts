import {
  aFunction, aHeaderName, anInteger, checkOptions, MAX_TIMER, withoutUndefined
} from '../shared/check-options.ts'
import type { Rule, RulesOf } from '../shared/check-options.ts'
import { isVisibleAscii } from '../shared/key-grammar.ts'

/** How an operation is tried again. */
export interface RetryOptions {
  /** The request header that carries the key. Default `'idempotency-key'`. */
  header?: string
  /** Milliseconds that one try may take, from sending it to the last byte of its answer. Default 15 000. */
  tryTimeout?: number
  /**
   * Milliseconds for all tries together and the waits between them. Default 60 000. Choose more than the server's
   * `lease`: if the server crashes, a later try can then take the operation over.
   */
  totalTimeout?: number
  /** Milliseconds: the longest wait before the second try. This limit doubles with each further try. Default 200. */
  firstDelay?: number
  /** Milliseconds: the largest value of that limit. A `Retry-After` of the server may be longer. Default 5 000. */
  maxDelay?: number
  /**
   * Whether the server accepts a key. Needed for a server that has a `validateKey` of its own. Default: 1 to 255
   * visible ASCII characters. The client refuses any other key with an `IdempotencyOptionError` before it sends
   * anything.
   */
  validateKey?: (key: string) => boolean
}

export type RetrySettings = Required<RetryOptions>

const DEFAULTS: RetrySettings = {
  header: 'idempotency-key',
  tryTimeout: 15_000,
  totalTimeout: 60_000,
  firstDelay: 200,
  maxDelay: 5_000,
  validateKey: isVisibleAscii
}

const RULES: RulesOf<RetryOptions> = {
  header: aHeaderName,
  tryTimeout: anInteger(1, MAX_TIMER, 'milliseconds'),
  totalTimeout: anInteger(1, MAX_TIMER, 'milliseconds'),
  firstDelay: anInteger(0, MAX_TIMER, 'milliseconds'),
  maxDelay: anInteger(0, MAX_TIMER, 'milliseconds'),
  validateKey: aFunction('that tells whether the server takes a key')
}

/**
 * Checks the options and adds the defaults.
 * @param more rules of further options
 * @throws {IdempotencyOptionError} that names the option and what it must be
 */
export function readOptions<T extends RetryOptions> (options: T, more: Record<string, Rule> = {}): T & RetrySettings {
  checkOptions('fastify-idempotency/client', { ...RULES, ...more }, options)
  const given = withoutUndefined(options)
  return { ...DEFAULTS, ...given, header: (given.header ?? DEFAULTS.header).toLowerCase() }
}
