import type { RedisClient } from '../redis-client.ts'
import { ClientMethods } from './client-methods.ts'
import type { RedisCommands } from './commands.ts'
import { preparedCommandClass } from './prepared-command.ts'
import { PreparedCommands } from './prepared-commands.ts'

export type { RedisCommands, ScriptValues, Value } from './commands.ts'

const METHODS = ['setBuffer', 'getBuffer', 'evalsha', 'eval', 'pttl', 'del'] as const

/** The cheapest way in which a client can send the commands of the store. */
export function commandsOf (redis: RedisClient): RedisCommands {
  const Command = preparedCommandClass(redis)
  const keyPrefix = redis.options?.keyPrefix ?? ''
  // Somebody replaced methods of this very client, and wants them to be called.
  const isPatched = METHODS.some(method => Object.hasOwn(redis, method))
  if (Command === null || isPatched || typeof keyPrefix !== 'string') return new ClientMethods(redis)
  return new PreparedCommands(redis, Command, keyPrefix)
}
