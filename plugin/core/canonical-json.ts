import { bodyUnreadable } from '../refusals.ts'

/** Deeper than any document that people exchange, and far from the end of the stack. */
const MAX_DEPTH = 256

/**
 * A text that is the same for two JSON values if and only if they mean the same: the order of members, white space and
 * how a number is written make no difference. It is what bodies are compared by, so a `fingerprint` of the app can
 * leave members out and keep the rest of the comparison. Members that are `undefined` are not there. Dates, big
 * integers and bytes are compared by their value. The text is for comparing and hashing; it is not JSON itself, nor to
 * be parsed.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_BODY_UNREADABLE` if the value holds what JSON cannot (a Map, a function,
 *   NaN, an instance of a class), or is nested more than 256 levels deep.
 */
export function canonicalJson (value: unknown): string {
  return canonical(value, 0)
}

/**
 * Members in the order of their names, and each string with its length in front, so that nothing has to be escaped.
 * Stricter than JSON.stringify: what that would flatten (a Map to `{}`, NaN to `null`) would make different bodies look
 * the same.
 */
function canonical (value: unknown, depth: number): string {
  if (value === null) return 'z'
  switch (typeof value) {
    case 'string':
      return canonicalString(value)
    case 'boolean':
      return value ? 't' : 'f'
    case 'number':
      if (Number.isFinite(value)) return `${value};`
      throw bodyUnreadable(`it contains ${value}`)
    case 'bigint':
      return `${value}n`
    case 'object':
      break
    default:
      throw bodyUnreadable(`it contains a ${typeof value}`)
  }
  if (depth === MAX_DEPTH) throw bodyUnreadable(`it is nested more than ${MAX_DEPTH} levels deep`)
  if (Array.isArray(value)) {
    let items = '['
    for (const item of value as unknown[]) items += canonical(item ?? null, depth + 1)
    return `${items}]`
  }
  if (value instanceof Uint8Array) return `<${Buffer.from(value).toString('base64')}>`
  if (value instanceof Date) return `@${value.getTime()};`
  if (!isPlain(value)) throw bodyUnreadable(`it contains a ${value.constructor?.name ?? 'special object'}`)
  let members = '{'
  for (const name of sortedKeys(value)) {
    const member = (value as Record<string, unknown>)[name]
    if (member !== undefined) members += canonicalString(name) + canonical(member, depth + 1)
  }
  return `${members}}`
}

function canonicalString (text: string): string {
  // Half of a surrogate pair is lost in UTF-8, which is what is hashed; JSON.stringify escapes it.
  return text.isWellFormed() ? `"${text.length}:${text}` : `'${JSON.stringify(text)}`
}

function sortedKeys (value: object): string[] {
  const keys = Object.keys(value)
  // Most clients send members in the same order every time, and sorting is expensive.
  for (let i = 1; i < keys.length; i++) {
    if ((keys[i - 1] as string) > (keys[i] as string)) return keys.sort()
  }
  return keys
}

/** An object literal, also one without a prototype or with an empty one, as parsers of forms and queries make them. */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
