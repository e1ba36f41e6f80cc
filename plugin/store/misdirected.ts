import type { RedisClient } from './redis-client.ts'

/** The commands that the store sends. */
export type RedisCommands = Pick<RedisClient, 'setBuffer' | 'getBuffer' | 'evalsha' | 'eval' | 'pttl' | 'del'>

/** The error of a Cluster node for a slot that it does not serve, or not yet. */
const REDIRECTED = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /
/**
 * The error of ioredis if, between collecting commands for one pipeline and sending it, it has learned that they belong
 * to different nodes.
 */
const SPLIT = /^All (?:the )?keys in the pipeline /

/**
 * Whether a node of a Cluster did not carry a command out because another node serves its slot. If a command was sent
 * alone, ioredis itself sends it to that node and refreshes its map of the slots. If `enableAutoPipelining` has sent it
 * together with others, ioredis does so only if all of them got the same answer. Otherwise it passes the error on to
 * the caller and refreshes nothing.
 */
export function isMisdirected (error: unknown): boolean {
  return error instanceof Error && (REDIRECTED.test(error.message) || SPLIT.test(error.message))
}

/** The same commands, each of them sent alone. `null` if the client is not a Cluster. */
export function sentAlone (redis: RedisClient): RedisCommands | null {
  if (redis.isCluster !== true || redis.createBuiltinCommand === undefined) return null
  const alone = (name: string, answer: 'string' | 'buffer'): unknown =>
    redis.createBuiltinCommand?.(name)[answer].bind(redis)
  return {
    setBuffer: alone('set', 'buffer') as RedisClient['setBuffer'],
    getBuffer: alone('get', 'buffer') as RedisClient['getBuffer'],
    evalsha: alone('evalsha', 'string') as RedisClient['evalsha'],
    eval: alone('eval', 'string') as RedisClient['eval'],
    pttl: alone('pttl', 'string') as RedisClient['pttl'],
    del: alone('del', 'string') as RedisClient['del']
  }
}
