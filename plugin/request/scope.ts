import type { FastifyRequest } from 'fastify'
import { describeNonId, NOTHING, textOf } from '../core/ids.ts'
import type { Scope } from '../types.ts'
import { readOption, refuseForOption, WrongValue } from './option-call.ts'

/**
 * The scope that the request's key is looked up in. A promise only if the function returns one.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_SCOPE_INVALID`, `FST_IDEMPOTENCY_OPTION_FAILED`, or what the function
 *   throws
 */
export function readScope (request: FastifyRequest, scope: Scope): string | Promise<string> {
  if (scope === 'global') return scope
  return readOption(() => scope(request), scopeOf, error => refuseForOption('scope', request, error))
}

const IDENTIFY = 'identify the caller in a hook that runs before it, such as onRequest, and refuse who is unknown there'

function scopeOf (value: unknown): string {
  const text = textOf(value)
  if (text === null || NOTHING.includes(text)) {
    const expected = 'a string or a number that names the caller'
    throw new WrongValue(expected, describeNonId(value), 'FST_IDEMPOTENCY_SCOPE_INVALID', IDENTIFY)
  }
  if (text === 'global') {
    const got = "'global', which names the space that all callers share"
    throw new WrongValue('ids with a prefix before them', got, 'FST_IDEMPOTENCY_SCOPE_INVALID')
  }
  return text
}
