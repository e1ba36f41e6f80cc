import { IdempotencyError } from './errors.ts'
import type { IdempotencyErrorCode } from './errors.ts'
import { bareError } from './shared/error-facts.ts'

/*
 * Every sentence that the plugin itself says to a client, one function a refusal. The titles, the statuses and whether
 * a refusal is retryable stand in errors.ts, by code.
 */

/** @param header its name; `null` where the option `key` reads the key */
export function keyMissing (header: string | null): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_MISSING', header === null
    ? 'This operation needs an idempotency key, and the request carries none where it is looked for'
    : `This operation needs the header ${header}: send a value that is unique to the operation, such as a UUID, ` +
      'and the same one with every retry')
}

/** @param header its name; `null` where the option `key` reads the key */
export function keyInvalid (header: string | null): IdempotencyError {
  const source = header === null ? 'key of this request' : `header ${header}`
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', `The ${source} is not a valid idempotency key: ` +
    'send 1 to 255 visible ASCII characters, such as a UUID, or what this service documents')
}

export function keyMalformed (header: string): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', `The header ${header} is malformed: ` +
    `send a quoted string as in RFC 9651, ${header}: "8e03978e-40d5-43e8-bc93-6894a57f9324", ` +
    'or the same without quotes')
}

export function keyRepeated (header: string, times: number): IdempotencyError {
  const detail = `The header ${header} was sent ${times} times: send it once`
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_INVALID', detail)
}

export function keyReused (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_KEY_REUSED', 'This idempotency key was used before for a request ' +
    'with another method, path, media type or body: send a new key with a new operation, ' +
    'and the same request with a retry')
}

/** @param why a sentence about the body that begins with "it" and has no full stop */
export function bodyUnreadable (why: string): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_BODY_UNREADABLE', 'The body of this request cannot be compared ' +
    `with that of a retry: ${why}. A route that takes such bodies needs an idempotency option "fingerprint" of its own`)
}

export function inProgress (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_IN_PROGRESS', 'A request with this idempotency key is being worked ' +
    'on: send it again later to get its answer')
}

/** The journal has the outcome of another attempt, so the transaction of this one cannot commit. */
export function completedElsewhere (cause?: unknown): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_IN_PROGRESS', 'Another attempt of this request has been completed: ' +
    'send it again to get its answer', { cause })
}

export function notReplayable (statusCode: number): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_NOT_REPLAYABLE', 'The request with this idempotency key was ' +
    `carried out and answered with status ${statusCode}, but its response was not kept: ` +
    'look its effect up instead of sending it again', { originalStatus: statusCode })
}

export function recordUnreadable (cause: unknown): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_RECORD_UNREADABLE', 'A request with this idempotency key may have ' +
    'been carried out, by another version of this service: look its effect up instead of sending it again',
  { cause: bareError(cause) })
}

export function storeUnavailable (cause: unknown): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'The request was not carried out, since it ' +
    'could not be protected against being carried out twice: send it again later', { cause: bareError(cause) })
}

export function journalUnavailable (cause: unknown): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'Whether this request has been carried out ' +
    'before could not be found out: send it again later', { cause: bareError(cause) })
}

export function notCommitted (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_NOT_COMMITTED', 'The request was worked on, but its answer does ' +
    'not stand where it was to be committed: send it again')
}

export function journalInconsistent (): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_JOURNAL_INCONSISTENT', 'The request with this idempotency key was ' +
    'carried out before, but its answer cannot be found: look its effect up instead of sending it again')
}

/** A function of the app failed, or returned what it must not. `code` is that of the app's mistake. */
export function optionFailed (
  code: IdempotencyErrorCode, option: string, route: string, what: string, cause: Error
): IdempotencyError {
  return new IdempotencyError(code, `The idempotency option "${option}" of ${route} ${what}`, { cause })
}

/** @param route method and pattern */
export function routeUnseen (route: string): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_ROUTE_UNSEEN', `The route ${route} asks for idempotency but was ` +
    'declared before the plugin was loaded, and would run unprotected: ' +
    'declare it after "await app.register(idempotency, …)", or in a plugin registered later')
}

/** @param reasons which routes, why, and what to do, a sentence each */
export function routesUnprotected (reasons: string[]): IdempotencyError {
  return new IdempotencyError('FST_IDEMPOTENCY_ROUTE_UNSEEN', `fastify-idempotency: ${reasons.join('. ')}`)
}
