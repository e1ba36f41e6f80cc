import type { RedisClient } from './redis-client.ts'

/** The commands that the store sends. */
export type RedisCommands = Pick<RedisClient, 'setBuffer' | 'getBuffer' | 'evalsha' | 'eval' | 'pttl' | 'del'>

/** What a node of a Cluster says of a slot that is not, or not yet, its own. */
const REDIRECTED = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /
/** What ioredis says if it has learned, between putting commands together and sending them, that they part. */
const PARTED = /^All (?:the )?keys in the pipeline /

/**
 * Whether a command came to a node of a Cluster that did not carry it out since it is another one's to do. ioredis sends
 * it there by itself, and looks where the slots are, if it was sent alone; one that `enableAutoPipelining` has sent
 * together with others only if all of them got the same answer. Else it hands the answer on, and looks nowhere.
 */
export function isMisdirected (error: unknown): boolean {
  return error instanceof Error && (REDIRECTED.test(error.message) || PARTED.test(error.message))
}

/** The same commands, each sent alone; `null` for a client that is none of a Cluster. */
export function sentAlone (redis: RedisClient): RedisCommands | null {
  if (redis.isCluster !== true || redis.createBuiltinCommand === undefined) return null
  const alone = (name: string, answer: 'string' | 'buffer'): unknown => redis.createBuiltinCommand?.(name)[answer].bind(redis)
  return {
    setBuffer: alone('set', 'buffer') as RedisClient['setBuffer'],
    getBuffer: alone('get', 'buffer') as RedisClient['getBuffer'],
    evalsha: alone('evalsha', 'string') as RedisClient['evalsha'],
    eval: alone('eval', 'string') as RedisClient['eval'],
    pttl: alone('pttl', 'string') as RedisClient['pttl'],
    del: alone('del', 'string') as RedisClient['del']
  }
}
