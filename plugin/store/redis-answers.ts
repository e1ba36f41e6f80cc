import { bareError } from '../shared/error-facts.ts'
import { UNREADABLE } from './lua.ts'
import { unreadable } from './record.ts'
import { StoreRefusedError } from './store.ts'

/*
 * Reads the answers of Redis in every form in which a client may return them: with its option `stringNumbers` a client
 * returns integers as text.
 */

/**
 * Reads the answer of a script that returns 1 if it did what it was asked, or else 0.
 * @throws {Error} on any other answer
 */
export function wasDone (answer: unknown): boolean {
  const number = integer(answer)
  if (number !== 0 && number !== 1) throw oddAnswer()
  return number === 1
}

/** @throws {Error} if the answer is not an integer */
export function integer (answer: unknown): number {
  const number = typeof answer === 'string' && answer !== '' ? Number(answer) : answer
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw oddAnswer()
  return number
}

export function oddAnswer (): Error {
  return new Error('Redis gave an answer that the store does not know')
}

/**
 * Translates the error of a command. If Redis itself answered with the error, the command was not carried out. After
 * any other error, such as a lost connection, this is not known.
 */
export function explained (error: unknown): unknown {
  const code = refusal(error)
  // ioredis attaches the command to the error, with all arguments, and so the whole response that is to be kept.
  const cause = bareError(error)
  if (code === null) return cause
  if (code === UNREADABLE || code === 'WRONGTYPE') return unreadable(cause)
  if (isSyntaxError(error)) {
    return new StoreRefusedError('Redis 7.0 or later is needed: older versions do not know SET … NX GET', { cause })
  }
  return new StoreRefusedError(`Redis refused the command: ${code}`, { cause })
}

/** Whether the server does not know an option of a command, since it is too old. */
export function isSyntaxError (error: unknown): boolean {
  return refusal(error) === 'ERR' && (error as Error).message.includes('syntax error')
}

/** The word that an error reply of Redis begins with, or `null` if the error is not a reply of Redis. */
function refusal (error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const [code = ''] = /^[A-Z][A-Z0-9_]*(?= |$)/.exec(error.message) ?? []
  if (isReply(error)) return code === '' ? 'ERR' : code
  // A minifier changes class names. Errors of sockets have a `code`, and the messages of all others are sentences.
  return code.length > 1 && !('code' in error) ? code : null
}

/** ioredis has the class `ReplyError`. The npm package `redis` has `ErrorReply` and derives other classes from it. */
function isReply (error: Error): boolean {
  if (error.name === 'ReplyError') return true
  let type = Object.getPrototypeOf(error) as object | null
  while (type !== null) {
    if (type.constructor.name === 'ErrorReply' || type.constructor.name === 'ReplyError') return true
    type = Object.getPrototypeOf(type) as object | null
  }
  return false
}
