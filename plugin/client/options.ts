import { IdempotencyOptionError } from '../errors.ts'

/** How an operation is tried again. */
export interface RetryOptions {
  /** The request header that carries the key. Default `'idempotency-key'`. */
  header?: string
  /** Milliseconds that one try may take, from sending it to the last byte of its answer. Default 15 000. */
  tryTimeout?: number
  /**
   * Milliseconds for all tries together and the waits between them. Default 60 000. Longer than the server's `lease`, so
   * that an operation whose server has crashed is taken over while its client still asks.
   */
  totalTimeout?: number
  /** Milliseconds that the wait before the second try takes at most. It doubles with each try. Default 200. */
  firstDelay?: number
  /** Milliseconds up to which that doubles. A server's `Retry-After` may be longer, and is waited for. Default 5 000. */
  maxDelay?: number
  /**
   * Whether the server takes a key, for a server with an own `validateKey`. Default: 1 to 255 visible ASCII characters.
   * Another one is refused with an `IdempotencyOptionError` before anything is sent.
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
  validateKey: key => /^[\x21-\x7e]{1,255}$/.test(key)
}

/** The longest that a timer can hold. */
const MAX_TIMER = 2 ** 31 - 1

/** Says what a value should have been, or nothing if it is that. */
export type Rule = (value: unknown) => string | undefined

const RULES: Record<keyof RetryOptions, Rule> = {
  header: value => typeof value === 'string' && /^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(value) ? undefined : 'the name of a request header',
  tryTimeout: milliseconds(1),
  totalTimeout: milliseconds(1),
  firstDelay: milliseconds(0),
  maxDelay: milliseconds(0),
  validateKey: value => typeof value === 'function' ? undefined : 'a function that tells whether the server takes a key'
}

/**
 * The options complete, together with those that `more` has rules for.
 * @throws {IdempotencyOptionError} naming the option and what it should have been.
 */
export function checkOptions<T extends RetryOptions> (options: T, more: Record<string, Rule> = {}): T & RetrySettings {
  const rules: Record<string, Rule> = { ...RULES, ...more }
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    if (rule === undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency/client: unknown option "${name}"; known are ${Object.keys(rules).join(', ')}`)
    }
    const expected = value === undefined ? undefined : rule(value)
    if (expected !== undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency/client: option "${name}" must be ${expected}, got ${typeof value === 'string' ? JSON.stringify(value) : typeof value === 'number' ? value : `a value of type ${typeof value}`}`)
    }
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
  return { ...DEFAULTS, ...given, header: (given.header ?? DEFAULTS.header).toLowerCase() }
}

function milliseconds (min: number): Rule {
  return value => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= MAX_TIMER
    ? undefined
    : `a whole number of milliseconds from ${min} to ${MAX_TIMER}`
}
