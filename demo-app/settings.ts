/** Settings that cannot be used. The message has one line for each, which begins with the name of the variable. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/**
 * Reads one variable.
 * @param parse `undefined` for a text that is not valid
 * @param expected ends the message "NAME must be …"
 */
export type Read = <T>(name: string, byDefault: T, parse: (text: string) => T | undefined, expected: string) => T

/**
 * Reads all settings, and then reports all that are wrong together and by name.
 * @throws {ConfigError}
 */
export function readSettings<T> (env: NodeJS.ProcessEnv, readAll: (read: Read) => T): T {
  const problems: string[] = []
  const settings = readAll((name, byDefault, parse, expected) => {
    const text = env[name]?.trim()
    if (text === undefined || text === '') return byDefault
    const value = parse(text)
    if (value !== undefined) return value
    // The message does not repeat the value, because a URL may contain a password.
    problems.push(`${name} must be ${expected}`)
    return byDefault
  })
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
  return settings
}

export function integer (least: number, most: number) {
  return (text: string): number | undefined => {
    const value = Number(text)
    return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined
  }
}

export function oneOf<T extends string> (...values: readonly T[]) {
  return (text: string): T | undefined => values.find(value => value === text)
}

export function url (...protocols: string[]) {
  return (text: string): string | undefined => {
    return URL.canParse(text) && protocols.includes(new URL(text).protocol) ? text : undefined
  }
}
