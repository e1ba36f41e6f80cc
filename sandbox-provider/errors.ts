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

export function numberNotFound (): ProviderError {
  return new ProviderError(404, 'NOT_FOUND', 'There is no such number.')
}
