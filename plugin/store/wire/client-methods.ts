import type { RedisClient } from '../redis-client.ts'
import type { RedisCommands, ScriptValues } from './commands.ts'
import { opaque } from './opaque.ts'

/** The methods that send the commands of the store. */
type Methods = Pick<RedisClient, 'setBuffer' | 'getBuffer' | 'evalsha' | 'eval' | 'pttl'>

/** The error of a Cluster node for a slot that it does not serve, or not yet. */
const REDIRECTED = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /
/**
 * The error of ioredis if, between collecting commands for one pipeline and sending it, it has learned that they belong
 * to different nodes.
 */
const SPLIT = /^All (?:the )?keys in the pipeline /

/** Sends the commands by the methods of a client: of any client that has those of ioredis. */
export class ClientMethods implements RedisCommands {
  readonly #methods: Methods
  /** Only for a Cluster: the same methods, each of which sends its command alone. */
  readonly #alone: Methods | null

  readonly #keyPrefix: string

  constructor (redis: RedisClient, keyPrefix: string) {
    this.#methods = redis
    this.#keyPrefix = keyPrefix
    this.#alone = sentAlone(redis)
  }

  setIfAbsent (id: string, record: string, milliseconds: number): Promise<Buffer | null> {
    return this.#send(id, (methods, key) => methods.setBuffer(key, record, 'PX', milliseconds, 'NX', 'GET'))
  }

  evaluate (command: 'evalsha' | 'eval', script: string, id: string, values: ScriptValues): Promise<unknown> {
    const args = values.map((value = '') => typeof value === 'string' ? value : hidden(value))
    return this.#send(id, (methods, key) => methods[command](script, 1, key, ...args))
  }

  get (id: string): Promise<Buffer | null> {
    return this.#send(id, (methods, key) => methods.getBuffer(key))
  }

  pttl (id: string): Promise<unknown> {
    return this.#send(id, (methods, key) => methods.pttl(key))
  }

  /** If another node serves the key's slot now, the command is sent to that node. */
  #send<T> (id: string, command: (methods: Methods, key: string) => Promise<T>): Promise<T> {
    const alone = this.#alone
    const key = this.#keyPrefix + id
    const sent = command(this.#methods, key)
    return alone === null
      ? sent
      : sent.catch((error: unknown) => {
        if (isMisdirected(error)) return command(alone, key)
        throw error
      })
  }
}

function hidden ([head, body]: readonly [string, string | Buffer]): Buffer {
  return opaque(typeof body === 'string' ? head + body : Buffer.concat([Buffer.from(head), body]))
}

/**
 * Whether a node of a Cluster did not carry a command out because another node serves its slot. If a command was sent
 * alone, ioredis itself sends it to that node and refreshes its map of the slots. If `enableAutoPipelining` has sent it
 * together with others, ioredis does so only if all of them got the same answer. Otherwise it passes the error on to
 * the caller and refreshes nothing.
 */
function isMisdirected (error: unknown): boolean {
  return error instanceof Error && (REDIRECTED.test(error.message) || SPLIT.test(error.message))
}

/** The same methods, each of which sends its command alone. `null` if the client is not a Cluster. */
function sentAlone (redis: RedisClient): Methods | null {
  if (redis.isCluster !== true || redis.createBuiltinCommand === undefined) return null
  const alone = (name: string, answer: 'string' | 'buffer'): unknown =>
    redis.createBuiltinCommand?.(name)[answer].bind(redis)
  return {
    setBuffer: alone('set', 'buffer') as Methods['setBuffer'],
    getBuffer: alone('get', 'buffer') as Methods['getBuffer'],
    evalsha: alone('evalsha', 'string') as Methods['evalsha'],
    eval: alone('eval', 'string') as Methods['eval'],
    pttl: alone('pttl', 'string') as Methods['pttl']
  }
}
