import type { Engine } from '../core/engine.ts'
import { bareError } from '../shared/error-facts.ts'
import { noteClaimed, obtain } from '../core/acquire.ts'
import { MAX_TIMER } from '../options.ts'
import type { RouteSettings } from '../options.ts'
import { Ownership } from '../core/ownership.ts'
import { ownedBy } from '../core/contender.ts'
import { canonicalJson } from '../core/canonical-json.ts'
import { checkId, recordId } from '../request/key.ts'
import { complete, release } from '../core/finish.ts'
import { replayableResponse } from '../request/replay.ts'
import { sha256 } from '../core/sha256.ts'
import type { KeptResponse } from '../store/store.ts'
import type { Operation, WorkContext } from '../types.ts'

/** `app.idempotency.run`: what a protected route does for a request, for work that no request asks for. */
export async function runOnce<T> (engine: Engine, { scope, key, fingerprint, waitTimeout }: Operation, work: (context: WorkContext) => T | Promise<T>): Promise<T> {
  if (typeof work !== 'function') {
    throw new TypeError(`fastify-idempotency: app.idempotency.run() takes the work to do as a function, got ${typeof work}`)
  }
  const settings = settingsOf(engine, waitTimeout)
  const checked = checkId('scope', scope)
  const subject = { request: null, scope: checked, id: recordId(checked, checkId('key', key)) }
  const own = fingerprintOf(fingerprint)
  // Both formats of records have the same one.
  const identity = { fingerprint: own, alternativeFingerprint: () => own }
  const obtained = await obtain({ engine, settings, subject, identity, log: engine.log, client: null })
  if (obtained === 'bypass') return await work({ attempt: 1, signal: new AbortController().signal, release () {} })
  const { result, claim, asked, recalled } = obtained
  if (result.state === 'settled') return valueOf(replayableResponse(engine, subject, result.attempt, result.outcome, { recalled, asked })) as T

  const owner = new Ownership(subject, ownedBy(claim, result.attempt), settings, engine.log, asked)
  engine.leases.hold(owner)
  noteClaimed(engine, owner)
  let value: T
  try {
    value = await work({
      attempt: result.attempt,
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

/** By those of the registration: what calls that wait equally long go by. Those who want one key ask the store together. */
const waitSettings = new WeakMap<RouteSettings, RouteSettings>()

/** A queue's worker may wait where a route's request may not. */
function settingsOf ({ settings: { route } }: Engine, waitTimeout: unknown): RouteSettings {
  if (waitTimeout === undefined) return route
  const kept = waitSettings.get(route)
  if (kept?.waitTimeout === waitTimeout) return kept
  if (!Number.isSafeInteger(waitTimeout) || (waitTimeout as number) < 0 || (waitTimeout as number) > MAX_TIMER) {
    const got = typeof waitTimeout === 'number' ? String(waitTimeout) : typeof waitTimeout
    throw new TypeError(`fastify-idempotency: app.idempotency.run() takes a waitTimeout that is a whole number of milliseconds from 0 to ${MAX_TIMER}, got ${got}`)
  }
  const settings: RouteSettings = { ...route, onConflict: 'wait', waitTimeout: waitTimeout as number }
  // The last one only: an app takes one, or many that do not come back.
  waitSettings.set(route, settings)
  return settings
}

/** Another one than that of any request: a key of both is a key that was used twice. */
function fingerprintOf (fingerprint: unknown): string {
  if (fingerprint === undefined) return sha256('run\n')
  try {
    return sha256(`run\n${canonicalJson(fingerprint)}`)
  } catch (cause) {
    throw new TypeError('fastify-idempotency: app.idempotency.run() takes a fingerprint that is text, bytes, or what JSON can hold', { cause })
  }
}

/** The work is done: a value that cannot be kept must not turn it into an error. */
function responseOf ({ settings, log }: Ownership, value: unknown): KeptResponse | null {
  try {
    // Of a function or a symbol there is no JSON, and as little of nothing.
    const json = JSON.stringify(value) as string | undefined
    if (json === undefined && value !== undefined) throw new TypeError(`a ${typeof value} has no JSON`)
    if (json !== undefined && Buffer.byteLength(json) > settings.maxBodySize) throw new RangeError(`its JSON is larger than "maxBodySize", ${settings.maxBodySize} bytes`)
    return { headers: [], body: json ?? '' }
  } catch (err) {
    log.error({ err: bareError(err) }, 'idempotency: the value of app.idempotency.run() cannot be kept')
    return null
  }
}

function valueOf ({ body }: KeptResponse): unknown {
  return body.length === 0 ? undefined : JSON.parse(body.toString())
}
