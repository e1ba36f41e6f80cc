import type { RedisClient } from '../redis-client.ts'
import { ClientMethods } from './client-methods.ts'
import type { RedisCommands } from './commands.ts'
import { preparedCommandClass } from './prepared-command.ts'
import { PreparedCommands } from './prepared-commands.ts'

export type { RedisCommands, ScriptValues, Value } from './commands.ts'

const METHODS = ['setBuffer', 'getBuffer', 'evalsha', 'eval', 'pttl'] as const

/**
 * The cheapest way in which a client can send the commands of the store.
 * @param keyPrefix the store's prefix for the names of its keys
 */
export function commandsOf (redis: RedisClient, keyPrefix: string): RedisCommands {
  const Command = preparedCommandClass(redis)
  const ownPrefix = redis.options?.keyPrefix ?? ''
  return Command === null || isPatched(redis) || typeof ownPrefix !== 'string'
    ? new ClientMethods(redis, keyPrefix)
    : new PreparedCommands(redis, Command, ownPrefix + keyPrefix)
}

/**
 * Whether this client, or a class that extends the one of the library, replaced a method that the store would call. The
 * app wants its own method to be called then. A wrapper of `sendCommand` is not meant: all ways call that one.
 */
function isPatched (redis: RedisClient): boolean {
  let library: object | null = redis
  while (library !== null && !Object.hasOwn(library, 'createBuiltinCommand')) {
    library = Object.getPrototypeOf(library) as object | null
  }
  return METHODS.some(method => redis[method] !== (library as Partial<RedisClient> | null)?.[method])
}
