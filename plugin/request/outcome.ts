import { answerOf } from '../deadline.ts'
import { channels, eventOf } from '../diagnostics.ts'
import type { Engine } from '../engine.ts'
import type { Ownership } from '../ownership.ts'
import type { Outcome } from '../store/store.ts'

/**
 * Stores an outcome. What was done is done: if the store does not take it, the client gets its answer all the same, and
 * the store is asked again in the background. Resolves to whether the key was still the owner's; `undefined` if that
 * is not known yet.
 */
export function complete (engine: Engine, owner: Ownership, outcome: Outcome, fingerprint = owner.owned.fingerprint): Promise<boolean | undefined> {
  const owned = fingerprint === owner.owned.fingerprint ? owner.owned : { ...owner.owned, fingerprint }
  return tell(engine, owner, COMPLETION, outcome.statusCode, () => engine.store.complete(owner.id, owned, outcome))
}

/** Gives the key back. `statusCode` is that of the answer, if there is one. Otherwise as `complete`. */
export function release (engine: Engine, owner: Ownership, statusCode: number | null): Promise<boolean | undefined> {
  return tell(engine, owner, RELEASE, statusCode, () => engine.store.release(owner.id, owner.owned))
}

interface Ending {
  what: string
  operation: 'complete' | 'release'
  /** The name of its counter and of its event. */
  done: 'completed' | 'released'
}

const COMPLETION: Ending = { what: 'completion', operation: 'complete', done: 'completed' }
const RELEASE: Ending = { what: 'release', operation: 'release', done: 'released' }

function tell (engine: Engine, owner: Ownership, ending: Ending, statusCode: number | null, call: () => Promise<boolean>): Promise<boolean | undefined> {
  const { what, operation } = ending
  engine.leases.letGo(owner)
  const asked = performance.now()
  return engine.deadline.race(answerOf(call)).then((owned) => {
    if (owned) note(engine, owner, ending, statusCode)
    else owner.log.warn(`idempotency: the ${what} came too late and changed nothing, another attempt owns the key`)
    return owned
  }, (error: unknown) => {
    owner.log.error({ err: error }, `idempotency: the ${what} could not be stored, trying again in the background`)
    if (channels.storeFailed.hasSubscribers) channels.storeFailed.publish({ ...eventOf(owner, owner.owned.attempt, asked), operation, error })
    // While nobody can reach the store nobody can take the key over, so it is worth trying for as long as it is kept.
    engine.background.insist(what, owner.settings.retention, owner.log, async () => {
      const owned = await call()
      if (owned) note(engine, owner, ending, statusCode)
      return owned
    })
    return undefined
  })
}

function note (engine: Engine, owner: Ownership, { done }: Ending, statusCode: number | null): void {
  engine.counts[done]++
  if (channels[done].hasSubscribers) {
    channels[done].publish({ ...eventOf(owner, owner.owned.attempt, owner.began), statusCode: owner.request === null ? null : statusCode })
  }
}
