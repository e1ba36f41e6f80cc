/** The part of an ioredis `Redis` or `Cluster` that the store uses. */
export interface RedisClient {
  readonly status: string
  /** `SET key value PX milliseconds NX GET`. Redis allows NX and GET together since version 7.0. */
  setBuffer (key: string, value: string, px: 'PX', milliseconds: number, nx: 'NX', get: 'GET'): Promise<Buffer | null>
  evalsha (sha: string, keys: 1, key: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  eval (lua: string, keys: 1, key: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  getBuffer (key: string): Promise<Buffer | null>
  /** With its option `stringNumbers` a client returns this, and the integers of scripts, as text. */
  pttl (key: string): Promise<number | string>
  /** For the checks when the app starts. */
  info? (): Promise<string>
  config? (subcommand: 'GET', parameter: string): Promise<unknown>
  /** Only a Cluster has this. */
  readonly isCluster?: boolean
  /** Makes the method of a command. The clients of ioredis 5 and 6 have this and `sendCommand`. */
  createBuiltinCommand? (name: string): Record<'string' | 'buffer', (...args: never[]) => unknown>
  /** Sends a command that has been built already. */
  sendCommand? (command: never): unknown
  readonly options?: { readonly keyPrefix?: unknown }
  /** For a client that connects with its first command (`lazyConnect`). */
  connect? (): Promise<void>
  once (event: 'ready', listener: () => void): unknown
  on (event: 'close', listener: () => void): unknown
  on (event: 'error', listener: (error: Error) => void): unknown
  off (event: 'ready' | 'close', listener: () => void): unknown
  off (event: 'error', listener: (error: Error) => void): unknown
  /** For the waiters: a connection that subscribes to a channel cannot do anything else. */
  duplicate (): RedisSubscriber
}

/** The part of the connection for wake-up messages that the store uses. */
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
