import { answerOf } from './store-timeout.ts'
import { channels, eventOf } from '../observe/channels.ts'
import type { Engine } from './engine.ts'
import { bareError, factsOf } from '../shared/error-facts.ts'
import type { Ownership } from './ownership.ts'
import type { Outcome, OwnedClaim } from '../store/store.ts'

/**
 * Stores an outcome. What was done is done: if the store does not take it, the client gets its answer all the same, and
 * this process keeps the key until the store has it. Resolves to whether the key was still the owner's; `undefined` if
 * that is not known yet.
 */
export function complete (engine: Engine, owner: Ownership, outcome: Outcome, fingerprint = owner.owned.fingerprint): Promise<boolean | undefined> {
  const owned = fingerprint === owner.owned.fingerprint ? owner.owned : { ...owner.owned, fingerprint }
  return tell(engine, owner, owned, outcome, outcome.statusCode)
}

/** Gives the key back. `statusCode` is that of the answer, if there is one. Otherwise as `complete`. */
export function release (engine: Engine, owner: Ownership, statusCode: number | null): Promise<boolean | undefined> {
  return tell(engine, owner, owner.owned, null, statusCode)
}

function tell (engine: Engine, owner: Ownership, owned: OwnedClaim, outcome: Outcome | null, statusCode: number | null): Promise<boolean | undefined> {
  const { store } = engine
  owner.ended = true
  const asked = performance.now()
  const call = outcome === null
    ? answerOf(() => store.release(owner.id, owned))
    : answerOf(() => store.complete(owner.id, owned, outcome))
  return engine.deadline.race(call).then((isOwner) => {
    if (!isOwner) owner.log.warn(`idempotency: the ${nameOf(outcome)} came too late and changed nothing, another attempt owns the key`)
    note(engine, owner, outcome, statusCode, isOwner)
    return isOwner
  }, (error: unknown) => {
    owner.log.error({ err: factsOf(error) }, `idempotency: the ${nameOf(outcome)} could not be stored, it is kept here and tried again`)
    if (channels.storeFailed.hasSubscribers) {
      const operation = outcome === null ? 'release' : 'complete'
      channels.storeFailed.publish({ ...eventOf(owner, owned.attempt, asked), operation, error: bareError(error) })
    }
    const stored = (isOwner: boolean): void => { note(engine, owner, outcome, statusCode, isOwner) }
    engine.pending.keep({ owner, owned, outcome, stored }, error)
    // Those who wait in this process get what is known here.
    if (outcome !== null) owner.noteOver()
    return undefined
  })
}

/** Undoes the claim of an owner that let nothing run: now, or once the store can be asked. */
export async function withdraw ({ store, deadline, leases, pending }: Engine, owner: Ownership): Promise<void> {
  const { id, owned, log } = owner
  leases.letGo(owner)
  await deadline.race(answerOf(() => store.withdraw(id, owned))).catch(() => { pending.withdraw(id, owned, log) })
}

function nameOf (outcome: Outcome | null): string {
  return outcome === null ? 'release' : 'completion'
}

/** The store has it, or another attempt has the key. */
function note (engine: Engine, owner: Ownership, outcome: Outcome | null, statusCode: number | null, isOwner: boolean): void {
  engine.leases.letGo(owner)
  if (!isOwner) return
  const done = outcome === null ? 'released' : 'completed'
  engine.counts[done]++
  if (channels[done].hasSubscribers) {
    channels[done].publish({ ...eventOf(owner, owner.owned.attempt, owner.began), statusCode: owner.request === null ? null : statusCode })
  }
}
