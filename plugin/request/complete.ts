import type { FastifyReply } from 'fastify'
import { isSettling } from '../options.ts'
import type { Outcome } from '../store/store.ts'
import { capture, headersToKeep } from './capture.ts'
import type { Captured } from './capture.ts'
import type { Headers, Run } from './run.ts'
import type { Engine } from './state.ts'

/**
 * Settles a run as its answer passes through `onSend`, before the first byte leaves. Resolves to the payload to send.
 * `undefined` where there is nothing to send yet: another answer is already on its way and goes first.
 */
export function settle (engine: Engine, run: Run, reply: FastifyReply, payload: unknown): Promise<unknown> | undefined {
  if (run.stage === 'settling') {
    // `reply.send()` without `return reply`, or a `handlerTimeout` meanwhile: Fastify sends what comes first.
    run.disturbed = true
    return undefined
  }
  run.stage = 'settling'
  return store(engine, run, reply, payload)
}

async function store (engine: Engine, run: Run, reply: FastifyReply, payload: unknown): Promise<unknown> {
  if (run.outcomeUnknown) {
    // The handler still runs. Nobody may join it before its lease is over, which is no longer renewed.
    run.stage = 'settled'
    return payload
  }
  if (run.releaseRequested || !isReplayable(run, statusOf(reply, payload))) {
    const sent = snapshot(reply)
    await release(engine, run)
    return finish(run, reply, sent, payload)
  }

  let captured: Captured | undefined
  try {
    captured = await capture(reply, payload, run.settings.maxBodySize)
  } catch (err) {
    // The error becomes the answer, and comes by here again.
    run.stage = 'open'
    throw err
  }
  if (captured === undefined) {
    run.stage = 'open'
    return payload
  }
  const sent = snapshot(reply)
  const { body } = captured
  const response = body === null || run.hasTrailers
    ? null
    : { headers: headersToKeep(run.headersBefore, sent.headers, run.settings), body }
  await complete(engine, run, { statusCode: sent.statusCode, response })
  return finish(run, reply, sent, captured.payload)
}

/** The status and headers that go with the payload that is being stored. */
interface Snapshot {
  statusCode: number
  headers: Headers
}

function snapshot (reply: FastifyReply): Snapshot {
  return { statusCode: reply.statusCode, headers: reply.getHeaders() }
}

function finish (run: Run, reply: FastifyReply, { statusCode, headers }: Snapshot, payload: unknown): unknown {
  run.stage = 'settled'
  if (run.disturbed) {
    reply.code(statusCode)
    for (const name of Object.keys(reply.getHeaders())) {
      if (!(name in headers)) reply.removeHeader(name)
    }
    for (const [name, value] of Object.entries(headers)) {
      reply.removeHeader(name)
      reply.header(name, value)
    }
  }
  return payload
}

function statusOf (reply: FastifyReply, payload: unknown): number {
  return Object.prototype.toString.call(payload) === '[object Response]' ? (payload as Response).status : reply.statusCode
}

/** The app's function must not turn a finished charge into a 500. */
function isReplayable (run: Run, statusCode: number): boolean {
  try {
    return run.settings.replayable(statusCode) === true
  } catch (err) {
    run.log.error({ err }, 'idempotency: the option "replayable" threw, its default decides')
    return isSettling(statusCode)
  }
}

/** Settles a run whose answer did not pass through `onSend`, after it has left. */
export async function settleUnseen (engine: Engine, run: Run, reply: FastifyReply): Promise<void> {
  run.stage = 'settled'
  const { statusCode } = reply.raw
  if (run.releaseRequested || !isReplayable(run, statusCode)) await release(engine, run)
  else await complete(engine, run, { statusCode, response: null })
}

/**
 * Stores an outcome. What was done is done: if the store does not take it, the client gets its answer all the same, and
 * the store is asked again in the background.
 */
async function complete (engine: Engine, run: Run, outcome: Outcome): Promise<void> {
  await tell(engine, run, 'completion', async () => {
    const owned = await engine.store.complete(run.id, run.owned, outcome)
    if (owned) engine.counts.completed++
    return owned
  })
}

async function release (engine: Engine, run: Run): Promise<void> {
  await tell(engine, run, 'release', async () => {
    const owned = await engine.store.release(run.id, run.owned)
    if (owned) engine.counts.released++
    return owned
  })
}

async function tell (engine: Engine, run: Run, what: string, call: () => Promise<boolean>): Promise<void> {
  engine.leases.letGo(run)
  try {
    const owned = await engine.deadline.race(call())
    if (!owned) run.log.warn(`idempotency: the ${what} came too late and changed nothing, another attempt owns the key`)
  } catch (err) {
    run.log.error({ err }, `idempotency: the ${what} could not be stored, trying again in the background`)
    // While nobody can reach the store nobody can take the key over, so it is worth trying for as long as it is kept.
    engine.background.insist(what, run.settings.retention, run.log, call)
  }
}
