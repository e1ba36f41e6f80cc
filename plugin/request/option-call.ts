import type { FastifyRequest } from 'fastify'
import type { IdempotencyErrorCode } from '../errors.ts'
import { routeOf } from '../observe/channels.ts'
import { optionFailed } from '../refusals.ts'
import { bareError } from '../shared/error-facts.ts'
import { isThenable } from '../shared/values.ts'

/**
 * Calls a function that is an option, and reads what it returns, or what the promise that it returns is fulfilled with.
 * A function that returns no promise costs none.
 * @param read what to make of the returned value; throws if the value is not allowed
 * @param fail what to do instead, if the function or `read` throws or the promise rejects
 */
export function readOption<T, F> (
  call: () => unknown, read: (value: unknown) => T, fail: (error: unknown) => F
): T | F | Promise<T | F> {
  try {
    const value = call()
    return isThenable(value) ? Promise.resolve(value).then(read).catch(fail) : read(value)
  } catch (error) {
    return fail(error)
  }
}

/** Goes on with a value that may be promised: at once, if it is not. */
export function andThen<T, R> (value: T | Promise<T>, next: (value: T) => R): R | Promise<Awaited<R>> {
  return value instanceof Promise ? value.then(next) as Promise<Awaited<R>> : next(value)
}

/** A function that is an option has returned a value that is not allowed. */
export class WrongValue extends TypeError {
  readonly code: IdempotencyErrorCode

  /** @param remedy what to do, where what is expected does not show it */
  constructor (
    expected: string, got: string, code: IdempotencyErrorCode = 'FST_IDEMPOTENCY_OPTION_FAILED', remedy?: string
  ) {
    super(`must return ${expected}, got ${got}${remedy === undefined ? '' : `: ${remedy}`}`)
    this.code = code
  }
}

/**
 * Refuses a request that cannot run because an option failed.
 * @throws {IdempotencyError} `FST_IDEMPOTENCY_OPTION_FAILED`, or the code of a wrong value: it is the app's mistake,
 *   which the log explains and the client is not shown. An error that has a status of its own is thrown as it is: as in
 *   any hook, it is what the app means to answer.
 */
export function refuseForOption (option: string, request: FastifyRequest, error: unknown): never {
  const status = statusOf(error)
  if (status !== 0 && status < 500) throw error
  const route = routeOf(request)
  const err = bareError(error)
  request.log.error({ err }, `idempotency: the option "${option}" of ${route} failed, the request is refused`)
  if (status >= 500) throw error
  if (error instanceof WrongValue) throw optionFailed(error.code, option, route, error.message, err)
  throw optionFailed('FST_IDEMPOTENCY_OPTION_FAILED', option, route, 'failed: the log of this service says why', err)
}

/** The status that Fastify would answer an error with; 0 if the error has none. */
function statusOf (error: unknown): number {
  if (typeof error !== 'object' || error === null) return 0
  const { statusCode, status } = error as { statusCode?: unknown, status?: unknown }
  return [statusCode, status].map(Number).find(isErrorStatus) ?? 0
}

function isErrorStatus (status: number): boolean {
  return Number.isInteger(status) && status >= 400 && status <= 599
}
