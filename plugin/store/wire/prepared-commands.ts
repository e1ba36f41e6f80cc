import type { RedisClient } from '../redis-client.ts'
import type { RedisCommands, ScriptValues, Value } from './commands.ts'
import type { PreparedCommandClass } from './prepared-command.ts'
import { around, asciiBulk, begin, bulk, END } from './resp.ts'
import type { Request } from './resp.ts'

/** Both SET commands have seven parts. */
const SET = begin(7) + asciiBulk('SET')
const NX_GET = asciiBulk('NX') + asciiBulk('GET')

/** What stands in front of the key. */
interface Opening {
  readonly text: string
  /** The visible arguments, without the key. */
  readonly args: readonly string[]
}

const SET_OPENING: Opening = { text: SET, args: [] }
const GET_OPENING: Opening = { text: begin(2) + asciiBulk('get'), args: [] }
const PTTL_OPENING: Opening = { text: begin(2) + asciiBulk('pttl'), args: [] }

/**
 * Sends the commands by `sendCommand` of an ioredis client. What ioredis does for every command holds for them too: the
 * offline queue, new attempts after a lost connection, `commandTimeout`, the nodes of a Cluster and its redirections,
 * and tracing. `enableAutoPipelining` makes no difference: all commands of one turn of the event loop leave together.
 *
 * All pieces of a request that do not change are built once, since every concatenation takes memory.
 */
export class PreparedCommands implements RedisCommands {
  readonly #redis: RedisClient
  readonly #Command: PreparedCommandClass
  readonly #keyPrefix: string
  /** By the length of an id: the beginning of a key. */
  readonly #beginKey: (idLength: number) => string

  /** @param keyPrefix the client's own prefix for the names of all keys, and that of the store */
  constructor (redis: RedisClient, Command: PreparedCommandClass, keyPrefix: string) {
    this.#redis = redis
    this.#Command = Command
    this.#keyPrefix = keyPrefix
    const prefixLength = Buffer.byteLength(keyPrefix)
    this.#beginKey = remembered(idLength => `$${prefixLength + idLength}${END}${keyPrefix}`)
  }

  setIfAbsent (id: string, record: string, milliseconds: number): Promise<Buffer | null> {
    const request = SET + this.#beginKey(id.length) + id + beginNext(record.length) + record + claimEnd(milliseconds)
    return this.#send('set', SET_OPENING, id, request) as Promise<Buffer | null>
  }

  setIfEqual (id: string, record: Value, expected: string, milliseconds: number): Promise<unknown> {
    const after = asciiBulk('IFEQ') + asciiBulk(expected) + expiry(milliseconds)
    return this.#send('set', SET_OPENING, id, around(this.#begin(SET_OPENING, id), record, after))
  }

  evaluate (command: 'evalsha' | 'eval', script: string, id: string, values: ScriptValues): Promise<unknown> {
    const [record, details] = values
    const opening = openingOf(command, script, values.length)
    const before = this.#begin(opening, id)
    const after = details === undefined ? '' : bulk(details)
    return this.#send(command, opening, id, record === undefined ? before : around(before, record, after))
  }

  get (id: string): Promise<Buffer | null> {
    return this.#send('get', GET_OPENING, id, this.#begin(GET_OPENING, id)) as Promise<Buffer | null>
  }

  pttl (id: string): Promise<unknown> {
    return this.#send('pttl', PTTL_OPENING, id, this.#begin(PTTL_OPENING, id))
  }

  /** The beginning of a request, up to its key. */
  #begin ({ text }: Opening, id: string): string {
    return text + this.#beginKey(id.length) + id + END
  }

  #send (name: string, { args }: Opening, id: string, request: Request): Promise<unknown> {
    // As the client's own methods do: a wrapper of `sendCommand` may return another promise, which then is the answer.
    return this.#redis.sendCommand?.(
      new this.#Command(name, args, this.#keyPrefix, id, request) as never
    ) as Promise<unknown>
  }
}

/** By script, which is an SHA-1 for EVALSHA and the text for EVAL. There are only a few, each with its own values. */
const openings = new Map<string, Opening>()

function openingOf (command: 'evalsha' | 'eval', script: string, values: number): Opening {
  let opening = openings.get(script)
  if (opening === undefined) {
    opening = { text: begin(values + 4) + asciiBulk(command) + bulk(script) + asciiBulk('1'), args: [script, '1'] }
    openings.set(script, opening)
  }
  return opening
}

/** Remembers the last result: lengths and times are nearly always the same. */
function remembered (make: (value: number) => string): (value: number) => string {
  let last = NaN
  let text = ''
  return (value) => {
    if (value !== last) {
      text = make(value)
      last = value
    }
    return text
  }
}

/** The end of a part, and the beginning of one of that length. */
const beginNext = remembered(length => `${END}$${length}${END}`)
const expiry = remembered(milliseconds => asciiBulk('PX') + asciiBulk(String(milliseconds)))
const claimEnd = remembered(milliseconds => END + expiry(milliseconds) + NX_GET)
