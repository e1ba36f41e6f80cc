import { createHash, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'

/**
 * A hash of scope and key, which the database stores: enough to recognize the work of an earlier attempt, not enough to
 * learn the key. The hash is of JSON, because `a` + `bc` and `ab` + `c` are two operations.
 */
export function operationOf ({ idempotency }: Pick<FastifyRequest, 'idempotency'>): Buffer {
  // If there is no key (the route is not protected, or the store is bypassed), no request is the retry of another.
  if (idempotency === null) return randomBytes(32)
  return createHash('sha256').update(JSON.stringify([idempotency.scope, idempotency.key])).digest()
}
