import type { Test } from 'tap'
import { connectRedis, newPrefix, REDIS_URL } from '../helper.ts'
import { startProcess } from '../servers/process.ts'
import type { ServerProcess } from '../servers/process.ts'
import type { FoundRecord, IdempotencyOptions, IdempotencyStats } from '../../plugin/index.ts'
import { recordId } from '../../plugin/core/record-id.ts'
import { startProvider } from './provider.ts'
import type { Provider } from './provider.ts'

export interface Service extends ServerProcess {
  url: string
  stats (): Promise<ServiceStats>
  /** What is stored for a key. */
  find (key: string, scope?: string): Promise<Partial<FoundRecord>>
}

interface ServiceStats extends IdempotencyStats {
  pid: number
}

/** The options of the plugin that JSON can express. */
type Options = Partial<Pick<IdempotencyOptions, 'onConflict' | 'waitTimeout' | 'lease' | 'closeTimeout'>>

export interface World {
  provider: Provider
  /** The record that Redis has for the key of a payment. */
  record (key: string): Promise<Buffer | null>
  /** The settings of a process of the service. */
  env (options?: Options): Record<string, string>
  /** Starts another process of the service, with additional settings. */
  start (options?: Options, more?: Record<string, string>, script?: string): Promise<Service>
}

/** Processes of one service, which share Redis and the payment provider, and end with the test. */
export async function startWorld (t: Test): Promise<World> {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const provider = await startProvider(t)
  const env = (options: Options = {}): Record<string, string> => ({
    REDIS_URL, PROVIDER_URL: provider.url, OPTIONS: JSON.stringify({ keyPrefix, closeTimeout: 600_000, ...options })
  })
  return {
    provider,
    record: key => redis.getBuffer(keyPrefix + recordId('global', key)),
    env,
    async start (options = {}, more = {}, script = 'test/processes/service.ts') {
      const service = startProcess(t, script, { ...env(options), ...more })
      const url = await service.listening()
      const get = async (path: string): Promise<unknown> => (await fetch(url + path)).json()
      return {
        ...service,
        url,
        stats: async () => await get('/stats') as ServiceStats,
        find: async (key, scope = 'global') => await get(`/keys/${scope}/${key}`) as Partial<FoundRecord>
      }
    }
  }
}
