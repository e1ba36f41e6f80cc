import { kindOf } from '../shared/values.ts'

/** What a missing id becomes as text. It is never accepted as an id. */
export const NOTHING: readonly string[] = ['', 'NaN', 'null', 'undefined']

/**
 * A scope or a key given to `app.idempotency.run()`, as text.
 * @throws {TypeError} if it names nothing
 */
export function checkId (what: 'scope' | 'key', id: unknown): string {
  const text = textOf(id)
  if (text !== null && !NOTHING.includes(text)) return text
  const expected = 'a string of at least one character, or a number'
  throw new TypeError(`fastify-idempotency: a ${what} must be ${expected}, got ${describeNonId(id)}`)
}

/**
 * A scope or a key given to `find` or `forget`, as text. 'null' is allowed: a client may have sent that.
 * @throws {TypeError}
 */
export function checkText (what: 'scope' | 'key', id: unknown): string {
  const text = textOf(id)
  if (text !== null) return text
  throw new TypeError(`fastify-idempotency: a ${what} must be a string or a number, got ${describeNonId(id)}`)
}

/** An id as text; `null` if it is no id, or if others would have the same text or hash. */
export function textOf (id: unknown): string | null {
  const text = numberAsText(id)
  // All halves of surrogate pairs are the same to a hash.
  return typeof text === 'string' && text.isWellFormed() ? text : null
}

/** A number that is an id, as text; all else as it is. Beyond 2 ** 53 two ids are the same number. */
export function numberAsText (id: unknown): unknown {
  if (typeof id !== 'number') return id
  return Number.isSafeInteger(id) || (Number.isFinite(id) && !Number.isInteger(id)) ? String(id) : id
}

/** Describes, for an error message, a value that is not an id, without revealing an id. */
export function describeNonId (id: unknown): string {
  if (typeof id === 'number') return Number.isInteger(id) ? 'a number beyond 2^53' : `the number ${id}`
  if (typeof id !== 'string' || id === '') return kindOf(id)
  return NOTHING.includes(id) ? `the text '${id}'` : 'text with half a surrogate pair'
}
