import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { IdempotencyError, StoreTimeoutError } from '../errors.ts'
import type { RouteSettings } from '../options.ts'
import { StoreUnreachableError } from '../store/store.ts'
import type { Claim, ClaimResult, Outcome } from '../store/store.ts'
import { fingerprintOf } from './fingerprint.ts'
import { readKey, readScope, recordId } from './key.ts'
import { recall } from './recall.ts'
import { inProgress, keyReused } from './refuse.ts'
import { replay } from './replay.ts'
import { Run, RunView } from './run.ts'
import { ANSWERED, kIdempotency } from './state.ts'
import type { Engine } from './state.ts'
import { watchReplies } from './watch.ts'

/**
 * Claims the request's key, and resolves to whether its handler is to run. Where it is not, the request has been
 * answered with a replay.
 * @throws {IdempotencyError} what to answer instead
 */
export async function claim (engine: Engine, settings: RouteSettings, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  const key = readKey(request, settings)
  if (key === undefined) return true
  const scope = readScope(request, settings.scope)
  const id = recordId(scope, key)
  const wanted: Claim = {
    owner: nextOwner(),
    fingerprint: fingerprintOf(request, settings),
    lease: settings.lease,
    retention: settings.retention
  }

  const waitUntil = settings.onConflict === 'wait' ? performance.now() + settings.waitTimeout : 0
  let running = false
  for (;;) {
    // Before the claim is sent: the lease cannot have begun earlier.
    const asked = performance.now()
    const call = engine.store.claim(id, wanted)
    let result: ClaimResult
    try {
      result = await engine.deadline.race(call)
      if (result.state === 'claimed' && performance.now() - asked >= wanted.lease) {
        throw new StoreTimeoutError('The idempotency store granted the key only after its lease was over')
      }
    } catch (err) {
      giveBackWhenKnown(engine, id, wanted, call, request)
      // Whoever is known to run must not be joined by an unprotected run.
      return refuseOrBypass(engine, running ? 'reject' : settings.onStoreError, err, request)
    }
    switch (result.state) {
      case 'claimed':
        return start(engine, request, reply, key, scope, new Run(id, { ...wanted, attempt: result.attempt }, settings, reply, asked))
      case 'settled':
        replay(engine, request, reply, key, scope, result.attempt, result.outcome)
        return false
      case 'mismatch':
        engine.counts.mismatches++
        throw keyReused()
      case 'running': {
        const left = waitUntil - performance.now()
        if (left <= 0 || engine.closing.aborted) {
          engine.counts.conflicts++
          throw inProgress()
        }
        if (!running) engine.counts.waited++
        running = true
        await engine.store.wait(id, Math.min(left, result.leaseLeft), engine.closing)
      }
    }
  }
}

/** The key is the request's own: let its handler run, unless an earlier attempt has committed an outcome. */
function start (engine: Engine, request: FastifyRequest, reply: FastifyReply, key: string, scope: string, run: Run): boolean | Promise<boolean> {
  engine.leases.hold(run)
  return run.owned.attempt === 1
    ? proceed(engine, request, reply, key, scope, run, null)
    : recall(engine, run).then(outcome => proceed(engine, request, reply, key, scope, run, outcome))
}

function proceed (engine: Engine, request: FastifyRequest, reply: FastifyReply, key: string, scope: string, run: Run, outcome: Outcome | null): boolean {
  const { attempt } = run.owned
  if (reply.sent || request[kIdempotency] === ANSWERED) {
    engine.leases.letGo(run)
    giveBack(engine, run.id, run.owned, request)
    return false
  }
  if (outcome !== null) {
    replay(engine, request, reply, key, scope, attempt, outcome)
    return false
  }
  watchReplies(engine, reply)
  engine.counts.claimed++
  if (attempt > 1) engine.counts.retried++
  request[kIdempotency] = run
  request.idempotency = new RunView(key, scope, run)
  return true
}

/** Whether the handler is to run all the same. */
function refuseOrBypass (engine: Engine, choice: RouteSettings['onStoreError'], err: unknown, request: FastifyRequest): true {
  if (choice === 'bypass') {
    engine.counts.bypassed++
    request.log.warn({ err }, 'idempotency: the store did not answer, the request runs unprotected')
    return true
  }
  request.log.error({ err }, 'idempotency: the store did not answer, the request is refused')
  throw new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'The request was not carried out, since it could not be protected against being carried out twice: send it again later', { cause: err })
}

/** A claim whose answer did not come may have been granted: without this, nobody could have the key for a lease. */
function giveBackWhenKnown (engine: Engine, id: string, wanted: Claim, call: Promise<ClaimResult>, request: FastifyRequest): void {
  call.then((result) => {
    if (result.state === 'claimed') giveBack(engine, id, wanted, request)
  }, (err: unknown) => {
    if (!(err instanceof StoreUnreachableError)) giveBack(engine, id, wanted, request)
  })
}

function giveBack (engine: Engine, id: string, wanted: Claim, request: FastifyRequest): void {
  engine.background.insist('release of a claim that was given up', wanted.lease, request.log, async () => {
    await engine.store.release(id, { ...wanted, attempt: 0 })
    // Whether there was something to release does not matter.
    return true
  })
}

/** 66 random bits: which process. */
const PROCESS_TOKEN = randomBytes(9).toString('base64url').slice(0, 11)
let ownersMade = 0

/** 18 characters that no other request has: random ones of this process, and a count. */
function nextOwner (): string {
  return PROCESS_TOKEN + (++ownersMade).toString(36).padStart(7, '0')
}
