import { IdempotencyOptionError } from './option-error.ts'
import { show } from './show.ts'

/** Milliseconds: the longest delay of a timer, in Node.js and in browsers. */
export const MAX_TIMER = 2 ** 31 - 1

/** Returns what the value must be, for a message, or `undefined` if the value is correct. */
export type Rule = (value: unknown) => string | undefined

/** A rule for each option. */
export type RulesOf<Options> = Readonly<Record<keyof Options, Rule>>

/**
 * Checks each option against its rule. An option that is `undefined` counts as not given.
 * @param where names the place of the options, such as `fastify-idempotency/client`: every message begins with it
 * @throws {IdempotencyOptionError} that names the option, what it must be, and what was given
 */
export function checkOptions (where: string, rules: Readonly<Record<string, Rule>>, options: object): void {
  const given: unknown = options
  if (typeof given !== 'object' || given === null) {
    throw new IdempotencyOptionError(`${where}: the options must be an object, got ${show(given)}`)
  }
  for (const [name, value] of Object.entries(given) as Array<[string, unknown]>) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    if (rule === undefined) {
      const known = Object.keys(rules)
      const list = `known ${known.length === 1 ? 'is' : 'are'} ${known.join(', ')}`
      throw new IdempotencyOptionError(`${where}: unknown option "${name}"; ${list}`)
    }
    const expected = value === undefined ? undefined : rule(value)
    if (expected !== undefined) {
      throw new IdempotencyOptionError(`${where}: option "${name}" must be ${expected}, got ${show(value)}`)
    }
  }
}

/** A copy of the options without those that are `undefined`, so that defaults apply to these. */
export function withoutUndefined<Options extends object> (options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options
}

export function aBoolean (value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'true or false'
}

export function aString (value: unknown): string | undefined {
  return typeof value === 'string' ? undefined : 'a string'
}

export function aHeaderName (value: unknown): string | undefined {
  const isToken = typeof value === 'string' && /^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(value)
  return isToken ? undefined : 'the name of a request header'
}

/** @param description follows "a function": its signature, or what it does */
export function aFunction (description: string): Rule {
  return value => typeof value === 'function' ? undefined : `a function ${description}`
}

export function anInteger (min: number, max: number, unit: string): Rule {
  return value => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
    ? undefined
    : `a whole number of ${unit} from ${min} to ${max}`
}

export function oneOf (...allowed: string[]): Rule {
  return value => allowed.includes(value as string) ? undefined : allowed.map(name => `'${name}'`).join(' or ')
}

/** @param what names the object, for a message: 'a store', say */
export function hasMethods (what: string, methods: readonly string[]): Rule {
  return (value) => {
    if (typeof value !== 'object' || value === null) return what
    const missing = methods.filter(name => typeof (value as Record<string, unknown>)[name] !== 'function')
    return missing.length === 0 ? undefined : `${what}; this one has no ${missing.join(', ')}`
  }
}
