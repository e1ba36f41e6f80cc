import type { IdempotencyOptions } from '../plugin/index.ts'
import { integer, LOG_LEVELS, oneOf, readSettings, url } from './settings.ts'

export interface Config {
  host: string
  port: number
  logLevel: string
  /** `null`: idempotency keys are kept in the memory of the process. */
  redisUrl: string | null
  /** `null`: an embedded database. */
  databaseUrl: string | null
  demoCustomers: boolean
  idempotency: Pick<IdempotencyOptions, 'lease' | 'onConflict'>
  providerUrl: string
  providerApiKey: string
  providerTimeout: number
  /** `null`: the address that the app listens on. */
  publicUrl: string | null
  sweepAfter: number
}

const TEN_MINUTES = 600_000
const DAY = 86_400_000

/** A pair of arguments for `read`: milliseconds from 1 to `most`. */
function milliseconds (most: number) {
  return [integer(1, most), `a number of milliseconds, from 1 to ${most}`] as const
}

/**
 * The settings of the app, from the environment. By default the payment provider is the sandbox provider.
 * @throws {ConfigError}
 */
export function readConfig (env: NodeJS.ProcessEnv): Config {
  return readSettings(env, (read) => {
    const redis = url('redis:', 'rediss:')
    const postgres = url('postgres:', 'postgresql:')
    const http = url('http:', 'https:')
    const lease = read('IDEMPOTENCY_LEASE_MS', undefined, ...milliseconds(DAY))
    const onConflict = read('IDEMPOTENCY_ON_CONFLICT', undefined,
      oneOf('auto', 'reject', 'wait'), '"auto", "reject" or "wait"')
    return {
      host: read('HOST', '127.0.0.1', text => text, 'a host name or an IP address'),
      port: read('PORT', 3000, integer(0, 65_535), 'a port number, from 0 (any free one) to 65535'),
      logLevel: read<string>('LOG_LEVEL', 'info', oneOf(...LOG_LEVELS), `one of ${LOG_LEVELS.join(', ')}`),
      redisUrl: read<string | null>('REDIS_URL', null, redis, 'a URL such as redis://localhost:6379'),
      databaseUrl: read<string | null>('DATABASE_URL', null,
        postgres, 'a URL such as postgres://user@localhost:5432/payments'),
      demoCustomers: read('DEMO_CUSTOMERS', 'true', oneOf('true', 'false'), '"true" or "false"') === 'true',
      idempotency: {
        ...(lease !== undefined && { lease }),
        ...(onConflict !== undefined && { onConflict })
      },
      providerUrl: read('PROVIDER_URL', 'http://127.0.0.1:4000', http, 'a URL such as https://payments.example'),
      providerApiKey: read('PROVIDER_API_KEY', 'sandbox-merchant-key',
        text => text, 'the key that the payment provider gave you'),
      providerTimeout: read('PROVIDER_TIMEOUT_MS', 10_000, ...milliseconds(TEN_MINUTES)),
      publicUrl: read<string | null>('PUBLIC_URL', null,
        http, 'the URL at which the payment provider reaches this app'),
      sweepAfter: read('SWEEP_AFTER_MS', 60_000, ...milliseconds(DAY))
    }
  })
}
