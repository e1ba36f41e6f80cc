import { createHash, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'

/**
 * What the database remembers of an idempotency key: enough to recognise the work of an earlier attempt, not enough
 * to learn the key. As JSON, since `a` + `bc` and `ab` + `c` must not be one operation.
 */
export function operationOf ({ idempotency }: Pick<FastifyRequest, 'idempotency'>): Buffer {
  // Without a key (a route that is not protected, or a store that is bypassed) no request is the retry of another.
  if (idempotency === null) return randomBytes(32)
  return createHash('sha256').update(JSON.stringify([idempotency.scope, idempotency.key])).digest()
}
