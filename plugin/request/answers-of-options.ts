import type { FastifyRequest } from 'fastify'
import { routeOf } from '../observe/channels.ts'
import { bareError } from '../shared/error-facts.ts'
import { IdempotencyError } from '../errors.ts'
import type { IdempotencyErrorCode } from '../errors.ts'

/**
 * What a function that is an option answers: read at once, or when its promise is settled. One that returns no promise
 * costs none.
 * @param read what to make of the answer; throws if it is not what it should be
 * @param fail what to do instead, if the function or `read` throws or the promise is rejected
 */
export function later<T, F> (call: () => unknown, read: (answer: unknown) => T, fail: (error: unknown) => F): T | F | Promise<T | F> {
  try {
    const answer = call()
    return isThenable(answer) ? Promise.resolve(answer).then(read).catch(fail) : read(answer)
  } catch (error) {
    return fail(error)
  }
}

/** Goes on with what may be promised: at once, if it is not. */
export function andThen<T, R> (value: T | Promise<T>, next: (value: T) => R): R | Promise<Awaited<R>> {
  return value instanceof Promise ? value.then(next) as Promise<Awaited<R>> : next(value)
}

export function isThenable (answer: unknown): answer is PromiseLike<unknown> {
  return typeof answer === 'object' && answer !== null && typeof (answer as { then?: unknown }).then === 'function'
}

/** For a message: what it is, and nothing of what is in it. */
export function kindOf (value: unknown): string {
  if (value === '') return 'an empty string'
  return value === null ? 'null' : typeof value
}

/** A function that is an option has answered what it must not. */
export class WrongAnswer extends TypeError {
  readonly code: IdempotencyErrorCode

  /** @param remedy what to do, where that is not plain from what is expected */
  constructor (expected: string, got: string, code: IdempotencyErrorCode = 'FST_IDEMPOTENCY_OPTION_FAILED', remedy?: string) {
    super(`must return ${expected}, got ${got}${remedy === undefined ? '' : `: ${remedy}`}`)
    this.code = code
  }
}

/**
 * What becomes of a request that may not run without an answer of this option, which has failed.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_OPTION_FAILED`, or the code of a wrong answer: the app's mistake, which
 *   is logged. Its client is not told what was thrown. Or the error itself, if it has a status of its own: then it is what
 *   the app means to answer, as that of any hook.
 */
export function refuseFor (option: string, request: FastifyRequest, error: unknown): never {
  const status = statusOf(error)
  if (status !== 0 && status < 500) throw error
  const route = routeOf(request)
  const err = bareError(error)
  request.log.error({ err }, `idempotency: the option "${option}" of ${route} failed, the request is refused`)
  if (status >= 500) throw error
  const [code, what] = error instanceof WrongAnswer
    ? [error.code, error.message] as const
    : ['FST_IDEMPOTENCY_OPTION_FAILED', 'failed: the log of this service says why'] as const
  throw new IdempotencyError(code, `The idempotency option "${option}" of ${route} ${what}`, { cause: err })
}

/** The status of an error that Fastify would answer with; 0 if the error has none. */
function statusOf (error: unknown): number {
  if (typeof error !== 'object' || error === null) return 0
  const { statusCode, status } = error as { statusCode?: unknown, status?: unknown }
  return [statusCode, status].map(Number).find(isErrorStatus) ?? 0
}

function isErrorStatus (status: number): boolean {
  return Number.isInteger(status) && status >= 400 && status <= 599
}
