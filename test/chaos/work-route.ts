import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { clock } from './clock.ts'
import { TRY_HEADER } from './faults.ts'
import { tell } from './tell.ts'

/*
 * Work of the suite itself, in each app beside the demo's routes. The demo has a journal, which answers for the plugin
 * if Redis has lost an outcome. Here nothing does, so a completed run that is repeated shows as one.
 */

export interface Work {
  /** Milliseconds. */
  takes: number
  /** The number of characters of the answer. */
  size: number
  /** How many attempts fail before one succeeds. */
  fails: number
}

type WorkRequest = FastifyRequest<{ Body: Work }>

const PUBLIC = { public: true } as const
const scope = (): string => 'chaos'

export async function workRoutes (app: FastifyInstance): Promise<void> {
  const unjournalled = { scope, journal: false } as const
  app.post('/chaos/work', { config: { ...PUBLIC, idempotency: unjournalled } }, work)
  app.post('/chaos/wait', { config: { ...PUBLIC, idempotency: { ...unjournalled, onConflict: 'wait' } } }, work)

  async function work (request: WorkRequest): Promise<object> {
    return await followed(request, async ({ takes, size, fails }, attempt) => {
      await delay(takes)
      if (attempt <= fails) throw new Error(`attempt ${attempt} was told to fail`)
      return { run: randomUUID(), filler: '.'.repeat(size) }
    })
  }

  /** An answer without a body is treated like any other: that its transaction has failed must still be reported. */
  app.post('/chaos/journalled', { config: { ...PUBLIC, idempotency: { scope } } }, journalled)

  async function journalled (request: WorkRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { idempotency } = request
    if (idempotency === null) throw new Error('this route must be protected')
    const committed = await followed(request, async ({ takes }) => {
      await delay(takes)
      await app.pg.transact(async (tx) => {
        await tx.query('INSERT INTO chaos_effects (key) VALUES ($1)', [idempotency.key])
        await idempotency.complete(tx, { statusCode: 204 })
      })
      return true
    }).catch(() => false)
    return reply.code(committed ? 204 : 503).send()
  }
}

async function followed<T> (request: WorkRequest, work: (work: Work, attempt: number) => Promise<T>): Promise<T> {
  const id = Number(request.headers[TRY_HEADER])
  const { idempotency } = request
  const attempt = idempotency?.attempt ?? 0
  tell({ event: 'began', try: id, attempt, at: clock() })
  let kept = false
  try {
    const answer = await work(request.body, attempt)
    kept = true
    return answer
  } finally {
    tell({ event: 'ended', try: id, kept, aborted: idempotency?.signal.aborted ?? false, at: clock() })
  }
}
