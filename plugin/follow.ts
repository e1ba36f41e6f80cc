import { IdempotencyError } from './errors.ts'
import { isWaiting, noteWait, pursue, refuseOrBypass, startWaiting, timeLeft } from './obtain.ts'
import type { Obtained, Pursuit } from './obtain.ts'

/** Who asks the store for a key on behalf of all in this process that want it for the same request. */
export interface Leader {
  readonly pursuit: Pursuit
  readonly found: Promise<Obtained | 'bypass'>
}

/**
 * Where duplicates wait, those of one process that want a key for the same request ask the store together: the first one
 * leads, the others follow and take what it finds. So what the store is asked grows with the processes, not with those
 * who wait.
 */
export async function leadOrFollow (pursuit: Pursuit): Promise<Obtained | 'bypass'> {
  const { leaders } = pursuit.engine
  const name = pursuit.subject.id + pursuit.claim.fingerprint
  for (;;) {
    const leader = leaders.get(name)
    if (leader === undefined) return lead(pursuit, name)
    const found = await follow(pursuit, leader)
    if (found !== null) return found
  }
}

async function lead (pursuit: Pursuit, name: string): Promise<Obtained | 'bypass'> {
  const { leaders } = pursuit.engine
  const found = pursue(pursuit)
  leaders.set(name, { pursuit, found })
  try {
    return await found
  } finally {
    // Before any follower hears of it: the first of them leads next.
    leaders.delete(name)
  }
}

/** `null`: the leader has the key now, or has waited for as long as it may. The next one asks. */
async function follow (pursuit: Pursuit, leader: Leader): Promise<Obtained | 'bypass' | null> {
  const { engine, settings, claim, log } = pursuit
  pursuit.asked = performance.now()
  const left = timeLeft(pursuit)
  if (isWaiting(leader.pursuit)) startWaiting(pursuit)
  else leader.pursuit.followers.push(pursuit)
  try {
    const found = await within(left, leader.found, engine.closing)
    if (found === 'bypass') throw new IdempotencyError('FST_IDEMPOTENCY_STORE_UNAVAILABLE', 'The store did not answer')
    if (found === null || found.result.state === 'claimed') return null
    noteWait(pursuit)
    return { result: found.result, claim, asked: pursuit.asked, recalled: found.recalled }
  } catch (error) {
    if (!(error instanceof IdempotencyError) || error.code !== 'FST_IDEMPOTENCY_STORE_UNAVAILABLE') return null
    // It would not answer this one either, only later.
    noteWait(pursuit)
    return refuseOrBypass(engine, isWaiting(pursuit) ? 'reject' : settings.onStoreError, error.cause ?? error, log)
  }
}

/** `null` if the time is over, or the app closes. */
async function within<T> (milliseconds: number, found: Promise<T>, closing: AbortSignal): Promise<T | null> {
  let stop!: () => void
  const stopped = new Promise<null>((resolve) => { stop = () => resolve(null) })
  const timer = setTimeout(stop, milliseconds)
  closing.addEventListener('abort', stop)
  try {
    return await Promise.race([found, stopped])
  } finally {
    clearTimeout(timer)
    closing.removeEventListener('abort', stop)
  }
}
