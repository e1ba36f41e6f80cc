import { Redis } from 'ioredis'
import type { RedisStore } from '../../plugin/store/redis.ts'

/*
 * A process with the RedisStore of an earlier release, which the tests call by messages.
 * Arguments: the file with the store, the URL of Redis, the prefix of keys
 */

export type Method = 'claim' | 'renew' | 'complete' | 'release' | 'wait' | 'find'
export interface Call { call: number, method: Method, args: unknown[] }
export type Answer = { call: number } & ({ result: unknown } | { error: string })

const [file = '', url = '', keyPrefix = ''] = process.argv.slice(2)
const earlier = await import(file) as { RedisStore: typeof RedisStore }
const redis = new Redis(url, { enableAutoPipelining: true })
const store = new earlier.RedisStore(redis, { keyPrefix, connectTimeout: 15_000 })

process.on('message', ({ call, method, args }: Call) => {
  const own = method === 'wait' ? [...args, new AbortController().signal] : args
  const asked = (store[method] as (...args: unknown[]) => Promise<unknown>).apply(store, own)
  asked.then(
    result => answer({ call, result }),
    (error: unknown) => answer({ call, error: String(error) })
  )
})

function answer (message: Answer): void {
  process.send?.(message)
}
