import type { Outcome } from '../store/store.ts'
import type { Run } from './run.ts'
import type { Engine } from './state.ts'

/**
 * Stores an outcome. What was done is done: if the store does not take it, the client gets its answer all the same, and
 * the store is asked again in the background. Resolves to whether the key was still the run's own; `undefined` if that
 * is not known yet.
 */
export function complete (engine: Engine, run: Run, outcome: Outcome, fingerprint = run.owned.fingerprint): Promise<boolean | undefined> {
  const owned = fingerprint === run.owned.fingerprint ? run.owned : { ...run.owned, fingerprint }
  return tell(engine, run, 'completed', 'completion', () => engine.store.complete(run.id, owned, outcome))
}

/** Gives the key back. Otherwise as `complete`. */
export function release (engine: Engine, run: Run): Promise<boolean | undefined> {
  return tell(engine, run, 'released', 'release', () => engine.store.release(run.id, run.owned))
}

async function tell (engine: Engine, run: Run, counter: 'completed' | 'released', what: string, call: () => Promise<boolean>): Promise<boolean | undefined> {
  engine.leases.letGo(run)
  try {
    const owned = await engine.deadline.race(call())
    if (owned) engine.counts[counter]++
    else run.log.warn(`idempotency: the ${what} came too late and changed nothing, another attempt owns the key`)
    return owned
  } catch (err) {
    run.log.error({ err }, `idempotency: the ${what} could not be stored, trying again in the background`)
    // While nobody can reach the store nobody can take the key over, so it is worth trying for as long as it is kept.
    engine.background.insist(what, run.settings.retention, run.log, async () => {
      const owned = await call()
      if (owned) engine.counts[counter]++
      return owned
    })
    return undefined
  }
}
