import type { FastifyRequest } from 'fastify'
import type { JournalledAnswer, Queryable } from '../../plugin/index.ts'
import { problemBody } from '../problems.ts'
import type { ProblemBody } from '../problems.ts'

/** Puts the answer into the transaction that makes it true. */
export type Complete = <T>(tx: Queryable, answer: JournalledAnswer<T>) => Promise<T>

/** A refusal that is as final as a receipt. */
export type Declined = ProblemBody

/** Every route that writes asks for a key, so the plugin has each of its requests. */
export function completing ({ idempotency }: Pick<FastifyRequest, 'idempotency'>): Complete {
  if (idempotency === null) throw new Error('this route must be protected')
  return (tx, answer) => idempotency.complete(tx, answer)
}

export function declined (code: string, detail: string): JournalledAnswer<Declined> & { body: Declined } {
  return {
    statusCode: 402,
    headers: { 'content-type': 'application/problem+json; charset=utf-8' },
    body: problemBody({ statusCode: 402, code, message: detail, retryable: false })
  }
}
