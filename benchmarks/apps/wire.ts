import type { Command, Redis } from 'ioredis'

type Reply = Buffer | number | null

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
  readonly #bytes: string | Buffer

  constructor (name: string, key: string, bytes: string | Buffer) {
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
  toWritable (stream: Corkable): string | Buffer {
    cork(stream)
    return this.#bytes
  }
}

interface Corkable {
  cork (): void
  uncork (): void
}

let corked: Corkable | undefined

/** Holds back what is written until this turn of the event loop ends, so that it leaves in one system call. */
function cork (stream: Corkable): void {
  if (corked === stream) return
  corked = stream
  stream.cork()
  setImmediate(uncork, stream)
}

function uncork (stream: Corkable): void {
  if (corked === stream) corked = undefined
  stream.uncork()
}

/** Sends one command in the Redis protocol, of which the client sees only the name and the key. */
export function sendBytes (redis: Redis, name: string, key: string, bytes: string | Buffer): Promise<Reply> {
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
