import type { FastifyRequest } from 'fastify'
import type { JournalledAnswer, Queryable } from '../../plugin/index.ts'
import { problemBody } from '../problems.ts'
import type { ProblemBody } from '../problems.ts'

/** Adds the answer to the transaction of the change that it describes. */
export type Complete = <T>(tx: Queryable, answer: JournalledAnswer<T>) => Promise<T>

/** A refusal that is final, like a receipt. */
export type Declined = ProblemBody

/** `complete` of a protected route. Every route that writes requires a key, so `request.idempotency` is never null. */
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
