/**
 * The part of another package's error that may be logged. Drivers attach to their errors what they sent: commands with
 * their arguments, rows, bodies.
 */
export interface ErrorFacts {
  type: string
  message: string
  code?: string
}

/** The properties that an error may keep. They show where it comes from, and nothing that was sent. */
const HARMLESS: ReadonlySet<string | symbol> = new Set([
  'name', 'message', 'stack', 'cause', 'code', 'errno', 'syscall', 'address', 'port'
])
/** Redis repeats the beginning of a command that it does not know. */
const REPEATED = /, with args beginning with:.*$/s
const LONGEST_CHAIN = 5

/** Name, message and code of an error, for logs. */
export function factsOf (error: unknown): ErrorFacts {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an Error' }
  const { code } = error as { code?: unknown }
  return { type: error.name, message: error.message.replace(REPEATED, ''), ...(typeof code === 'string' && { code }) }
}

/**
 * An error that may be passed on, in events and as a cause: the same error if nothing is attached to it, or else a new
 * one with only its name, message and code.
 */
export function bareError (error: unknown): Error {
  if (error instanceof Error && isBare(error)) return error
  const { type, message, code } = factsOf(error)
  const bare = Object.defineProperty(new Error(message), 'name', { value: type, configurable: true })
  return code === undefined ? bare : Object.assign(bare, { code })
}

function isBare (error: Error, chain = 1): boolean {
  if (!Reflect.ownKeys(error).every(key => HARMLESS.has(key)) || REPEATED.test(error.message)) return false
  const { cause } = error
  return cause === undefined || (cause instanceof Error && chain < LONGEST_CHAIN && isBare(cause, chain + 1))
}
