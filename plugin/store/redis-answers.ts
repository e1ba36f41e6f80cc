import { bareError } from '../shared/error-facts.ts'
import { UNREADABLE } from './lua.ts'
import { unreadable } from './record.ts'
import { StoreRefusedError } from './store.ts'

/*
 * What Redis's answers say, whatever the client makes of them: with `stringNumbers` integers come as text.
 */

/** Of a script that answers whether it did what it was asked. @throws {Error} on any other answer */
export function wasDone (answer: unknown): boolean {
  const number = integer(answer)
  if (number !== 0 && number !== 1) throw oddAnswer()
  return number === 1
}

/** @throws {Error} if it is none: what it says is not known then. */
export function integer (answer: unknown): number {
  const number = typeof answer === 'string' && answer !== '' ? Number(answer) : answer
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw oddAnswer()
  return number
}

export function oddAnswer (): Error {
  return new Error('Redis gave an answer that the store does not know')
}

/**
 * What became of a command that failed. An error that is Redis's own answer says that it was not carried out; any other
 * one, such as that of a connection that was lost, leaves it open.
 */
export function explained (error: unknown): unknown {
  const code = refusal(error)
  // ioredis hangs the command on it, with all arguments: the whole response that is to be kept.
  const cause = bareError(error)
  if (code === null) return cause
  if (code === UNREADABLE || code === 'WRONGTYPE') return unreadable(cause)
  if (code === 'ERR' && (error as Error).message.includes('syntax error')) {
    return new StoreRefusedError('Redis 7.0 or later is needed: older ones do not know SET … NX GET', { cause })
  }
  return new StoreRefusedError(`Redis refused the command: ${code}`, { cause })
}

/** The word that an error reply begins with, or `null` if it is none. */
function refusal (error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const [code = ''] = /^[A-Z][A-Z0-9_]*(?= |$)/.exec(error.message) ?? []
  if (isReply(error)) return code === '' ? 'ERR' : code
  // Names do not survive a minifier. Errors of sockets have a code, and all others are sentences.
  return code.length > 1 && !('code' in error) ? code : null
}

/** `ReplyError` is what ioredis calls it, `ErrorReply` the npm package `redis`, which derives others from it. */
function isReply (error: Error): boolean {
  if (error.name === 'ReplyError') return true
  for (let type = Object.getPrototypeOf(error) as object | null; type !== null; type = Object.getPrototypeOf(type) as object | null) {
    if (type.constructor.name === 'ErrorReply' || type.constructor.name === 'ReplyError') return true
  }
  return false
}
