import type { RouteShorthandOptions } from 'fastify'

/** What the handler of every mode does: only as much as it takes to answer. */
export interface Work {
  /** Bytes of the answer's body. */
  size: number
  payload: 'json' | 'buffer'
  /** Milliseconds that the handler takes; 0: it answers at once. */
  takes: number
}

export const KEY_HEADER = 'idempotency-key'

/** What every request carries: 200 bytes of JSON. */
export const BODY = JSON.stringify({ amount: 1999, note: 'y'.repeat(174) })

const REQUEST = { type: 'object', properties: { amount: { type: 'integer' }, note: { type: 'string' } } }
const ANSWER = {
  type: 'object',
  properties: { id: { type: 'integer' }, status: { type: 'string' }, note: { type: 'string' } }
}

/** Schemas as a payment team would have them. */
export function routeOptions ({ payload }: Work): RouteShorthandOptions {
  return { schema: { body: REQUEST, ...(payload === 'json' && { response: { 200: ANSWER } }) } }
}

/** The header that makes the handler fail. It is a header because every framework passes headers on. */
export const FAIL_HEADER = 'x-fail'

type Handler = (request: { headers: Record<string, unknown> }) => Promise<unknown>

/** The answer, which is created for each run. It says which run created it. */
export function handlerOf ({ size, payload, takes }: Work): Handler {
  const note = 'x'.repeat(Math.max(0, size - 37))
  const bytes = Buffer.alloc(size, 'x')
  let runs = 0
  const answer = (): unknown => payload === 'buffer' ? bytes : { id: ++runs, status: 'paid', note }
  if (takes === 0) return async () => answer()
  return async ({ headers }) => {
    await new Promise((resolve) => { setTimeout(resolve, takes) })
    if (headers[FAIL_HEADER] !== undefined) throw new Error('told to fail')
    return answer()
  }
}
