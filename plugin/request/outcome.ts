import type { Outcome } from '../store/store.ts'
import type { Run } from './run.ts'
import type { Engine } from './state.ts'

/**
 * Stores an outcome. What was done is done: if the store does not take it, the client gets its answer all the same, and
 * the store is asked again in the background. Resolves to whether the key was still the run's own; `undefined` if that
 * is not known yet.
 */
export function complete (engine: Engine, run: Run, outcome: Outcome, fingerprint = run.owned.fingerprint): Promise<boolean | undefined> {
  return tell(engine, run, 'completion', async () => {
    const owned = await engine.store.complete(run.id, fingerprint === run.owned.fingerprint ? run.owned : { ...run.owned, fingerprint }, outcome)
    if (owned) engine.counts.completed++
    return owned
  })
}

/** Gives the key back. Otherwise as `complete`. */
export function release (engine: Engine, run: Run): Promise<boolean | undefined> {
  return tell(engine, run, 'release', async () => {
    const owned = await engine.store.release(run.id, run.owned)
    if (owned) engine.counts.released++
    return owned
  })
}

async function tell (engine: Engine, run: Run, what: string, call: () => Promise<boolean>): Promise<boolean | undefined> {
  engine.leases.letGo(run)
  try {
    const owned = await engine.deadline.race(call())
    if (!owned) run.log.warn(`idempotency: the ${what} came too late and changed nothing, another attempt owns the key`)
    return owned
  } catch (err) {
    run.log.error({ err }, `idempotency: the ${what} could not be stored, trying again in the background`)
    // While nobody can reach the store nobody can take the key over, so it is worth trying for as long as it is kept.
    engine.background.insist(what, run.settings.retention, run.log, call)
    return undefined
  }
}
