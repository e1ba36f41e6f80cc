import type { Writable } from 'node:stream'
import type { Command, Redis } from 'ioredis'

type Reply = Buffer | number | null
/** The bytes of a command. Those of a large argument are not copied: they stand between two texts. */
export type Bytes = string | [before: string, large: Buffer, after: string]

/**
 * A command whose bytes are built once. It has only what ioredis asks of a command, and its only visible argument is
 * the key, so errors and tracers do not see the values.
 */
class PrebuiltCommand {
  readonly name: string
  readonly args: [key: string]
  readonly promise: Promise<Reply>
  resolve!: (reply: Reply) => void
  reject!: (error: Error) => void
  inTransaction = false
  isTraced = false
  isResolved = false
  isSettled = false
  readonly #bytes: Bytes

  constructor (name: string, key: string, bytes: Bytes) {
    this.name = name
    this.args = [key]
    this.#bytes = bytes
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  /** ioredis says here which protocol the connection speaks. The replies of these commands are the same in all. */
  setReplyContext (): void {}

  /** ioredis writes the result to the stream at once. The stream keeps it until it is uncorked. */
  toWritable (stream: Writable): string {
    cork(stream)
    if (typeof this.#bytes === 'string') return this.#bytes
    const [before, large, after] = this.#bytes
    stream.write(before)
    stream.write(large)
    return after
  }
}

let corked: Writable | undefined

/** Holds back what is written until this turn of the event loop ends, so that it leaves in one system call. */
function cork (stream: Writable): void {
  if (corked === stream) return
  corked = stream
  stream.cork()
  setImmediate(uncork, stream)
}

function uncork (stream: Writable): void {
  if (corked === stream) corked = undefined
  stream.uncork()
}

/** Sends one command in the Redis protocol, of which the client sees only the name and the key. */
export function sendBytes (redis: Redis, name: string, key: string, bytes: Bytes): Promise<Reply> {
  return redis.sendCommand(new PrebuiltCommand(name, key, bytes) as unknown as Command) as Promise<Reply>
}

/** An argument in the Redis protocol. */
export function argument (text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`
}

/** Several arguments in the Redis protocol, for those that never change. */
export function constants (...texts: string[]): string {
  return texts.map(argument).join('')
}
