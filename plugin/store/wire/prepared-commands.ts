import type { RedisClient } from '../redis-client.ts'
import type { RedisCommands, ScriptValues, Value } from './commands.ts'
import type { PreparedCommandClass } from './prepared-command.ts'
import { around, asciiBulk, begin, bulk } from './resp.ts'
import type { Request } from './resp.ts'

/** Both SET commands have seven parts. */
const SET = begin(7) + asciiBulk('SET')
const NX_GET = asciiBulk('NX') + asciiBulk('GET')

/**
 * Sends the commands by `sendCommand` of an ioredis client. What ioredis does for every command holds for them too: the
 * offline queue, new attempts after a lost connection, `commandTimeout`, the nodes of a Cluster and its redirections,
 * and tracing. `enableAutoPipelining` makes no difference: all commands of one turn of the event loop leave together.
 */
export class PreparedCommands implements RedisCommands {
  readonly #redis: RedisClient
  readonly #Command: PreparedCommandClass
  /** The client's own prefix for the names of all keys. */
  readonly #keyPrefix: string

  constructor (redis: RedisClient, Command: PreparedCommandClass, keyPrefix: string) {
    this.#redis = redis
    this.#Command = Command
    this.#keyPrefix = keyPrefix
  }

  setIfAbsent (name: string, record: string, milliseconds: number): Promise<Buffer | null> {
    const key = this.#keyPrefix + name
    const request = SET + bulk(key) + asciiBulk(record) + expiry(milliseconds) + NX_GET
    return this.#send('set', [key], request) as Promise<Buffer | null>
  }

  setIfEqual (name: string, record: Value, expected: string, milliseconds: number): Promise<unknown> {
    const key = this.#keyPrefix + name
    const after = asciiBulk('IFEQ') + asciiBulk(expected) + expiry(milliseconds)
    return this.#send('set', [key], around(SET + bulk(key), record, after))
  }

  evaluate (command: 'evalsha' | 'eval', script: string, name: string, values: ScriptValues): Promise<unknown> {
    const key = this.#keyPrefix + name
    const [record, details] = values
    const before = begin(values.length + 4) + callOf(command, script) + bulk(key)
    const after = details === undefined ? '' : bulk(details)
    return this.#send(command, [script, '1', key], record === undefined ? before : around(before, record, after))
  }

  get (name: string): Promise<Buffer | null> {
    return this.#ask('get', name) as Promise<Buffer | null>
  }

  pttl (name: string): Promise<unknown> {
    return this.#ask('pttl', name)
  }

  #ask (command: string, name: string): Promise<unknown> {
    const key = this.#keyPrefix + name
    return this.#send(command, [key], begin(2) + asciiBulk(command) + bulk(key))
  }

  #send (command: string, args: string[], request: Request): Promise<unknown> {
    // As the client's own methods do: a wrapper of `sendCommand` may return another promise, which then is the answer.
    return this.#redis.sendCommand?.(new this.#Command(command, args, request) as never) as Promise<unknown>
  }
}

/** The beginnings of the calls of scripts, to be used again: there are only a few scripts. */
const calls = new Map<string, string>()

/** @param script implies the command: it is an SHA-1, or the text of a script */
function callOf (command: 'evalsha' | 'eval', script: string): string {
  let call = calls.get(script)
  if (call === undefined) {
    call = asciiBulk(command) + bulk(script) + asciiBulk('1')
    calls.set(script, call)
  }
  return call
}

/** The expiry of the last claim and its text, to be used again: those of one route never change. */
let last = { milliseconds: NaN, text: '' }

function expiry (milliseconds: number): string {
  if (last.milliseconds !== milliseconds) {
    last = { milliseconds, text: asciiBulk('PX') + asciiBulk(String(milliseconds)) }
  }
  return last.text
}
