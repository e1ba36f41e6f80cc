import type { IdempotencyOptions } from '../plugin/index.ts'
import { integer, LOG_LEVELS, oneOf, readSettings, url } from './settings.ts'

export interface Config {
  host: string
  port: number
  logLevel: string
  redisUrl: string | null
  databaseUrl: string | null
  demoCustomers: boolean
  idempotency: Pick<IdempotencyOptions, 'lease' | 'onConflict'>
  /** `null`: the sandbox provider, in this process. */
  gatewayUrl: string | null
  gatewayApiKey: string
  gatewayTimeout: number
  publicUrl: string | null
  sweepAfter: number
}

/** The key of the sandbox provider, which everybody knows. */
export const SANDBOX_API_KEY = 'sandbox-merchant-key'

/**
 * All settings of the app, checked.
 * @throws {ConfigError}
 */
export function readConfig (env: NodeJS.ProcessEnv): Config {
  return readSettings(env, (read) => {
    const lease = read('IDEMPOTENCY_LEASE_MS', undefined, integer(1, 86_400_000), 'a number of milliseconds, from 1 to 86400000')
    const onConflict = read('IDEMPOTENCY_ON_CONFLICT', undefined, oneOf('auto', 'reject', 'wait'), '"auto", "reject" or "wait"')
    return {
      host: read('HOST', '127.0.0.1', text => text, 'a host name or an IP address'),
      port: read('PORT', 3000, integer(0, 65_535), 'a port number, from 0 (any free one) to 65535'),
      logLevel: read<string>('LOG_LEVEL', 'info', oneOf(...LOG_LEVELS), `one of ${LOG_LEVELS.join(', ')}`),
      redisUrl: read<string | null>('REDIS_URL', null, url('redis:', 'rediss:'), 'a URL such as redis://localhost:6379'),
      databaseUrl: read<string | null>('DATABASE_URL', null, url('postgres:', 'postgresql:'), 'a URL such as postgres://user@localhost:5432/payments'),
      demoCustomers: read('DEMO_CUSTOMERS', 'true', oneOf('true', 'false'), '"true" or "false"') === 'true',
      idempotency: {
        ...(lease !== undefined && { lease }),
        ...(onConflict !== undefined && { onConflict })
      },
      gatewayUrl: read<string | null>('GATEWAY_URL', null, url('http:', 'https:'), 'a URL such as https://payments.example'),
      gatewayApiKey: read('GATEWAY_API_KEY', SANDBOX_API_KEY, text => text, 'the key that the payment provider gave you'),
      gatewayTimeout: read('GATEWAY_TIMEOUT_MS', 10_000, integer(1, 600_000), 'a number of milliseconds, from 1 to 600000'),
      publicUrl: read<string | null>('PUBLIC_URL', null, url('http:', 'https:'), 'the URL at which the payment provider reaches this app'),
      sweepAfter: read('SWEEP_AFTER_MS', 60_000, integer(1, 86_400_000), 'a number of milliseconds, from 1 to 86400000')
    }
  })
}
