import type { Writable } from 'node:stream'
import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import type { Test } from 'tap'
import type { Outcome } from '../../../plugin/store/store.ts'
import { REDIS_URL } from '../../helper.ts'
import { until } from '../../servers/until.ts'

export type ClientOptions = Omit<RedisOptions, 'replyMapping'> & { replyMapping?: 'resp3' }

/** A client with any options of ioredis, connected to the tests' Redis or to `url`. It is closed with its test. */
export async function connected (t: Test, options: ClientOptions = {}, url = REDIS_URL): Promise<Redis> {
  // A path or Sentinels say by themselves where to connect to.
  const isElsewhere = options.path !== undefined || options.sentinels !== undefined
  const redis = (isElsewhere ? new Redis(options) : new Redis(url, options)) as Redis
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  if (redis.status === 'wait') redis.connect().catch(() => {})
  await until(() => redis.status === 'ready', 'a connection')
  return redis
}

/** The connection of a client. ioredis keeps it to itself. */
export function streamOf (redis: object): Writable {
  return (redis as { stream: Writable }).stream
}

/** Counts the writes to a connection from now on, each of which is one system call if it fits. */
export function countWrites (stream: Writable): () => number {
  let writes = 0
  for (const name of ['_write', '_writev'] as const) {
    const original = stream[name]?.bind(stream) as ((...args: unknown[]) => void)
    stream[name] = (...args: unknown[]) => {
      writes++
      original(...args)
    }
  }
  return () => writes
}

export interface Sent {
  name: string
  args: readonly unknown[]
}

/** The commands that a client sends from now on, as tracers see them. */
export function watchCommands (redis: object): Sent[] {
  const sent: Sent[] = []
  const client = redis as { sendCommand (command: Sent, ...rest: unknown[]): unknown }
  const original = client.sendCommand.bind(client)
  client.sendCommand = (command, ...rest) => {
    sent.push({ name: command.name, args: [...command.args] })
    return original(command, ...rest)
  }
  return sent
}

/** Makes the store call the methods of this client, since one of them is not that of the library. */
export function patched<T extends { getBuffer: (...args: never[]) => unknown }> (redis: T): T {
  redis.getBuffer = redis.getBuffer.bind(redis)
  return redis
}

/** An outcome whose body is exactly this: text stays text. */
export function answer (body: string | Buffer): Outcome {
  return { statusCode: 201, response: { headers: [['content-type', 'text/plain']], body } }
}
