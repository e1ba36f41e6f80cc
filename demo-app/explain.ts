import { ConfigError } from './settings.ts'

/** Why a process cannot start, for people. */
export function explain (error: unknown): string {
  if (error instanceof ConfigError) return `These settings cannot be used:\n${error.message}`
  // What the system or the database says is clear without a stack. An AggregateError (one for each address of
  // "localhost") has no message of its own, only a code.
  if (error instanceof Error && 'code' in error) return error.message || String(error.code)
  return error instanceof Error ? error.stack ?? error.message : String(error)
}
