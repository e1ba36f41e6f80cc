import { acquire } from '../core/acquire.ts'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Acquired, Engine } from '../core/engine.ts'
import { complete, release } from '../core/finish.ts'
import { checkId } from '../core/ids.ts'
import { keptResponseOf } from '../core/kept-response.ts'
import { Ownership } from '../core/ownership.ts'
import { recordId } from '../core/record-id.ts'
import { ownedBy } from '../core/results.ts'
import { sha256 } from '../core/sha256.ts'
import { MAX_TIMER } from '../options.ts'
import type { RouteSettings } from '../options.ts'
import { bareError } from '../shared/error-facts.ts'
import { kindOf } from '../shared/values.ts'
import type { KeptResponse } from '../store/store.ts'
import type { Operation, WorkContext } from '../types.ts'

/** Work that is done once. */
export type Work<T> = (context: WorkContext) => T | Promise<T>

/** `app.idempotency.run`: does for a piece of work what a protected route does for a request. */
export async function runOnce<T> (engine: Engine, operation: Operation, work: Work<T>): Promise<T> {
  if (typeof work !== 'function') {
    throw new TypeError('fastify-idempotency: app.idempotency.run() takes the work to do as a function, ' +
      `got ${typeof work}`)
  }
  if (typeof operation !== 'object' || operation === null) {
    throw new TypeError('fastify-idempotency: app.idempotency.run() takes { scope, key } first, ' +
      `got ${kindOf(operation)}`)
  }
  const settings = settingsFor(engine, operation.waitTimeout)
  const scope = checkId('scope', operation.scope)
  const subject = { request: null, scope, id: recordId(scope, checkId('key', operation.key)) }
  const fingerprint = fingerprintOf(operation.fingerprint)
  // It is the same in both formats of records.
  const identity = { fingerprint, alternativeFingerprint: () => fingerprint }
  const acquired = await new Promise<Acquired | 'bypass'>((resolve, reject) => {
    const { log } = engine
    acquire({ engine, settings, subject, identity, log, client: null, acquired: resolve, refused: reject })
  })
  if (acquired === 'bypass') return await work({ attempt: 1, signal: new AbortController().signal, release () {} })
  const { attempt, sentAt } = acquired
  if (acquired.state === 'settled') {
    const { outcome, recalled, cached } = acquired
    return valueOf(keptResponseOf(engine, subject, outcome, { attempt, since: sentAt, recalled, cached })) as T
  }
  const owner = new Ownership(subject, ownedBy(acquired.claim, attempt), settings, engine.log, sentAt)
  engine.leases.hold(owner)
  engine.events.claimed(owner)
  return await workAndFinish(engine, owner, work)
}

async function workAndFinish<T> (engine: Engine, owner: Ownership, work: Work<T>): Promise<T> {
  let value: T
  try {
    value = await work({
      attempt: owner.owned.attempt,
      get signal () { return owner.signal },
      release () { owner.releaseRequested = true }
    })
  } catch (error) {
    await release(engine, owner, null)
    throw error
  }
  if (owner.releaseRequested) await release(engine, owner, null)
  else await complete(engine, owner, { statusCode: 200, response: responseOf(owner, value) })
  return value
}

/**
 * By the settings of the registration: those of calls with a `waitTimeout` of their own. Calls that share settings
 * share acquisitions.
 */
const waitSettings = new WeakMap<RouteSettings, RouteSettings>()

/** The worker of a queue may wait where the request of a route may not. */
function settingsFor ({ settings: { route } }: Engine, waitTimeout: unknown): RouteSettings {
  if (waitTimeout === undefined) return route
  const kept = waitSettings.get(route)
  if (kept?.waitTimeout === waitTimeout) return kept
  if (!Number.isSafeInteger(waitTimeout) || (waitTimeout as number) < 0 || (waitTimeout as number) > MAX_TIMER) {
    const got = typeof waitTimeout === 'number' ? String(waitTimeout) : typeof waitTimeout
    throw new TypeError('fastify-idempotency: app.idempotency.run() takes a waitTimeout that is a whole number of ' +
      `milliseconds from 0 to ${MAX_TIMER}, got ${got}`)
  }
  const settings: RouteSettings = { ...route, onConflict: 'wait', waitTimeout: waitTimeout as number }
  // Only the last one is remembered: an app uses one value, or many values once each.
  waitSettings.set(route, settings)
  return settings
}

/** It differs from the fingerprint of every request, so a key that both a request and a call use is a 422. */
function fingerprintOf (fingerprint: unknown): string {
  if (fingerprint === undefined) return sha256('run\n')
  try {
    return sha256(`run\n${canonicalJson(fingerprint)}`)
  } catch (cause) {
    throw new TypeError('fastify-idempotency: app.idempotency.run() takes a fingerprint that is text, bytes, ' +
      'or what JSON can hold', { cause })
  }
}

/** The work is done. A value that cannot be kept must not turn it into an error. */
function responseOf ({ settings, log }: Ownership, value: unknown): KeptResponse | null {
  try {
    // A function, a symbol and `undefined` have no JSON.
    const json = JSON.stringify(value) as string | undefined
    if (json === undefined && value !== undefined) throw new TypeError(`a ${typeof value} has no JSON`)
    if (json !== undefined && Buffer.byteLength(json) > settings.maxBodySize) {
      throw new RangeError(`its JSON is larger than "maxBodySize", ${settings.maxBodySize} bytes`)
    }
    return { headers: [], body: json ?? '' }
  } catch (err) {
    log.error({ err: bareError(err) }, 'idempotency: the value of app.idempotency.run() cannot be kept')
    return null
  }
}

function valueOf ({ body }: KeptResponse): unknown {
  return body.length === 0 ? undefined : JSON.parse(body.toString())
}
