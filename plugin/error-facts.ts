/** What may be told of another's error. Drivers hang on it what they sent: commands with their arguments, rows, bodies. */
export interface ErrorFacts {
  type: string
  message: string
  code?: string
}

/** Name, message and code of an error, for logs and events. */
export function factsOf (error: unknown): ErrorFacts {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an Error' }
  const { code } = error as { code?: unknown }
  return { type: error.name, message: error.message, ...(typeof code === 'string' && { code }) }
}
