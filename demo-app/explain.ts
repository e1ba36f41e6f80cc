import { ConfigError } from './settings.ts'

/** Explains to people why the process cannot start. */
export function explain (error: unknown): string {
  if (error instanceof ConfigError) return `These settings cannot be used:\n${error.message}`
  // Errors of the system and of the database are clear without a stack. An AggregateError (with one error for each
  // address of "localhost") has a code but no message.
  if (error instanceof Error && 'code' in error) return error.message || String(error.code)
  return error instanceof Error ? error.stack ?? error.message : String(error)
}
