import type { Writable } from 'node:stream'
import type { RedisClient } from '../redis-client.ts'
import { corkForThisTurn } from './corked.ts'
import type { Request } from './resp.ts'

/**
 * A command of ioredis that was built beforehand, as the bytes of its request. It has all that ioredis asks of a
 * command. The difference is that its visible arguments end with the key, so neither tracers nor errors, which take the
 * arguments from the command, can show what the store writes.
 */
export interface PreparedCommand {
  readonly promise: Promise<unknown>
}

/** @param args the visible arguments, to which the key is added */
export type PreparedCommandClass = new (
  name: string, args: readonly string[], keyPrefix: string, id: string, request: Request
) => PreparedCommand

/** What the store uses of ioredis's own class `Command`. */
interface ClientCommand {
  toWritable (stream?: Writable): unknown
}

/** A request of the class `Command`, which shows that the client writes commands as `toWritable` returns them. */
const SAMPLE = '*2\r\n$3\r\nget\r\n$3\r\nkey\r\n'

/** The class of prepared commands for a client, or `null` if the client is not one of ioredis 5 or 6, or a fork. */
export function preparedCommandClass (redis: RedisClient): PreparedCommandClass | null {
  if (typeof redis.sendCommand !== 'function') return null
  const command = sampleOf(redis)
  return command === null ? null : classFor(Object.getPrototypeOf(command) as object)
}

/** A command of the client's own class, which is sent to nobody. `ioredis` itself need not be imported for it. */
function sampleOf (redis: RedisClient): ClientCommand | null {
  let sample: unknown
  try {
    const nobody = { options: {}, sendCommand: (command: unknown) => { sample = command } }
    redis.createBuiltinCommand?.('get').string.call(nobody, ...['key'] as never[])
    return (sample as ClientCommand | undefined)?.toWritable() === SAMPLE ? sample as ClientCommand : null
  } catch {
    return null
  }
}

const classes = new WeakMap<object, PreparedCommandClass>()

/** @param prototype of the client's class `Command`, from which a prepared command inherits what it does not change */
function classFor (prototype: object): PreparedCommandClass {
  let known = classes.get(prototype)
  if (known === undefined) {
    known = newClass()
    Object.setPrototypeOf(known.prototype, prototype)
    classes.set(prototype, known)
  }
  return known
}

/** The class does not run the constructor of its parent, which costs more than the rest of a command. */
function newClass (): PreparedCommandClass {
  return class {
    readonly name: string
    readonly promise: Promise<unknown>
    // Tracers and Clusters put their own functions in the place of these two.
    resolve!: (value: unknown) => void
    reject!: (error: unknown) => void
    /** ioredis reads and writes this. */
    isTraced = false
    readonly #args: readonly string[]
    readonly #keyPrefix: string
    readonly #id: string
    readonly #request: Request
    #timer: NodeJS.Timeout | null = null

    constructor (name: string, args: readonly string[], keyPrefix: string, id: string, request: Request) {
      this.name = name
      this.#args = args
      this.#keyPrefix = keyPrefix
      this.#id = id
      this.#request = request
      this.promise = new Promise((resolve, reject) => {
        this.resolve = resolve
        this.reject = reject
      })
    }

    /** For the client's option `commandTimeout`. ioredis calls this again when it sends the command again. */
    setTimeout (milliseconds: number): void {
      if (this.#timer !== null) return
      const timer = setTimeout(() => this.reject(new Error('Command timed out')), milliseconds)
      this.#timer = timer
      const clear = (): void => clearTimeout(timer)
      this.promise.then(clear, clear)
    }

    /** Made on demand, since only tracers, Clusters and errors ask for it. */
    get args (): string[] {
      return [...this.#args, ...this.getKeys()]
    }

    /** By the key a Cluster finds the node. */
    getKeys (): string[] {
      return [this.#keyPrefix + this.#id]
    }

    /** Answers are passed on as they are, in every version of the protocol. */
    setReplyContext (): void {}

    /** ioredis writes what this returns to the stream, at once. A command that ioredis sends again gets here again. */
    toWritable (stream?: Writable): string | Buffer {
      const request = this.#request
      if (stream === undefined) return typeof request === 'string' ? request : joined(request)
      corkForThisTurn(stream)
      if (typeof request === 'string') return request
      const [before, body, after] = request
      stream.write(before)
      stream.write(body)
      return after
    }
  }
}

function joined (parts: ReadonlyArray<string | Buffer>): Buffer {
  return Buffer.concat(parts.map(part => typeof part === 'string' ? Buffer.from(part) : part))
}
