/**
 * The value of a key: text, or the head of a record and the body of a response. The body belongs to a customer, so
 * nothing that looks at the arguments of commands may show it. It is apart from the head, so that a large body is not
 * copied.
 */
export type Value = string | readonly [head: string, body: string | Buffer]

/** What a script gets beside its key. */
export type ScriptValues = [] | [record: Value, details?: string]

/**
 * The commands that the store sends, each to the node of a Cluster that serves its key. The key of a record is the
 * store's prefix and the record's id. The commands reject with the error of the client, which may be an error reply of
 * Redis.
 */
export interface RedisCommands {
  /**
   * `SET key record PX milliseconds NX GET`: writes the record if the key is absent. Redis allows NX and GET together
   * since version 7.0.
   * @returns the record that was there before
   */
  setIfAbsent (id: string, record: string, milliseconds: number): Promise<Buffer | null>
  /**
   * `SET key record IFEQ expected PX milliseconds`: writes the record if the present one is `expected`. Valkey 8.1 and
   * Redis 8.4 know it. Missing where the client cannot send it.
   * @returns not null if it was written
   */
  setIfEqual? (id: string, record: Value, expected: string, milliseconds: number): Promise<unknown>
  /** `EVALSHA`, or `EVAL` if `script` is not the SHA-1 of a script but its text. All scripts have one key. */
  evaluate (command: 'evalsha' | 'eval', script: string, id: string, values: ScriptValues): Promise<unknown>
  get (id: string): Promise<Buffer | null>
  pttl (id: string): Promise<unknown>
}
