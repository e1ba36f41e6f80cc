/** An answer that is an error. Fastify answers with its status, its code and its message. */
export class ProviderError extends Error {
  override name = 'ProviderError'
  readonly statusCode: number
  readonly code: string

  constructor (statusCode: number, code: string, message: string) {
    super(message)
    this.statusCode = statusCode
    this.code = code
  }
}

/**
 * What the ledger has for a number.
 * @throws {ProviderError} if it has nothing
 */
export function found<T> (entry: T | undefined): T {
  if (entry === undefined) throw new ProviderError(404, 'NOT_FOUND', 'There is no such number.')
  return entry
}
