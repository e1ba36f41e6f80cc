/** What is used of an ioredis `Redis` or `Cluster`. */
export interface RedisClient {
  readonly status: string
  /** `SET key value PX milliseconds NX GET`, together since Redis 7.0. */
  setBuffer (key: string, value: string, px: 'PX', milliseconds: number, nx: 'NX', get: 'GET'): Promise<Buffer | null>
  evalsha (sha: string, keys: 1, key: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  eval (lua: string, keys: 1, key: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  getBuffer (key: string): Promise<Buffer | null>
  /** With `stringNumbers` a client answers this, and the integers of scripts, as text. */
  pttl (key: string): Promise<number | string>
  del (key: string): Promise<number | string>
  /** What it says of itself, for the checks when the app starts. */
  info? (): Promise<string>
  config? (subcommand: 'GET', parameter: string): Promise<unknown>
  /** Of a Cluster. */
  readonly isCluster?: boolean
  /** Of a Cluster: a command that is not put together with others, even with `enableAutoPipelining`. */
  createBuiltinCommand? (name: string): Record<'string' | 'buffer', (...args: never[]) => unknown>
  /** Of a client that connects when it is asked for the first time (`lazyConnect`). */
  connect? (): Promise<void>
  once (event: 'ready', listener: () => void): unknown
  on (event: 'close', listener: () => void): unknown
  on (event: 'error', listener: (error: Error) => void): unknown
  off (event: 'ready' | 'close', listener: () => void): unknown
  off (event: 'error', listener: (error: Error) => void): unknown
  /** Only for those who wait: a connection that is subscribed can do nothing else. */
  duplicate (): RedisSubscriber
}

/** What is used of the connection that is told of settled keys. */
export interface RedisSubscriber {
  readonly status: string
  connect (): Promise<void>
  subscribe (channel: string): Promise<unknown>
  on (event: 'message', listener: (channel: string, message: string) => void): unknown
  on (event: 'ready', listener: () => void): unknown
  once (event: 'ready' | 'end', listener: () => void): unknown
  on (event: 'error', listener: (error: Error) => void): unknown
  disconnect (): void
}
