/** What may be told of another's error. Drivers hang on it what they sent: commands with their arguments, rows, bodies. */
export interface ErrorFacts {
  type: string
  message: string
  code?: string
}

/** What else an error may carry: where it comes from, and nothing that was sent. */
const HARMLESS: ReadonlySet<string | symbol> = new Set([
  'name', 'message', 'stack', 'cause', 'code', 'errno', 'syscall', 'address', 'port'
])
/** Redis repeats the beginning of what it does not know. */
const REPEATED = /, with args beginning with:.*$/s
const LONGEST_CHAIN = 5

/** Name, message and code of an error, for logs. */
export function factsOf (error: unknown): ErrorFacts {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an Error' }
  const { code } = error as { code?: unknown }
  return { type: error.name, message: error.message.replace(REPEATED, ''), ...(typeof code === 'string' && { code }) }
}

/** An error to hand on, to events and as a cause: the same one if there is nothing on it, else one of its facts alone. */
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
