import type { IdempotencyOptions } from '../plugin/index.ts'

export interface Config {
  host: string
  port: number
  logLevel: string
  redisUrl: string | null
  databaseUrl: string | null
  demoCustomers: boolean
  idempotency: Pick<IdempotencyOptions, 'lease' | 'onConflict'>
}

/** Settings that cannot be used; the message has one line for each, starting with the variable's name. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** All settings of the app, checked: what is wrong is said at once and by name, not by the first request. */
export function readConfig (env: NodeJS.ProcessEnv): Config {
  const problems: string[] = []

  // Values are never repeated: an URL may hold a password.
  function read<T> (name: string, byDefault: T, parse: (text: string) => T | undefined, expected: string): T {
    const text = env[name]?.trim()
    if (text === undefined || text === '') return byDefault
    const value = parse(text)
    if (value !== undefined) return value
    problems.push(`${name} must be ${expected}`)
    return byDefault
  }

  const lease = read('IDEMPOTENCY_LEASE_MS', undefined, integer(1, 86_400_000), 'a number of milliseconds, from 1 to 86400000')
  const onConflict = read('IDEMPOTENCY_ON_CONFLICT', undefined, oneOf('reject', 'wait'), '"reject" or "wait"')
  const config: Config = {
    host: read('HOST', '127.0.0.1', text => text, 'a host name or an IP address'),
    port: read('PORT', 3000, integer(0, 65_535), 'a port number, from 0 (any free one) to 65535'),
    logLevel: read('LOG_LEVEL', 'info', oneOf(...LOG_LEVELS), `one of ${LOG_LEVELS.join(', ')}`),
    redisUrl: read('REDIS_URL', null, url('redis:', 'rediss:'), 'a URL such as redis://localhost:6379'),
    databaseUrl: read('DATABASE_URL', null, url('postgres:', 'postgresql:'), 'a URL such as postgres://user@localhost:5432/payments'),
    demoCustomers: read('DEMO_CUSTOMERS', 'true', oneOf('true', 'false'), '"true" or "false"') === 'true',
    idempotency: {
      ...(lease !== undefined && { lease }),
      ...(onConflict !== undefined && { onConflict })
    }
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
  return config
}

function integer (least: number, most: number) {
  return (text: string): number | undefined => {
    const value = Number(text)
    return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined
  }
}

function oneOf<T extends string> (...values: T[]) {
  return (text: string): T | undefined => values.find(value => value === text)
}

function url (...protocols: string[]) {
  return (text: string): string | undefined => {
    return URL.canParse(text) && protocols.includes(new URL(text).protocol) ? text : undefined
  }
}
