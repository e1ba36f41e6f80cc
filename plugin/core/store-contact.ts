/** Milliseconds without any call after which a process no longer knows whether the store can be heard. */
const PAUSE = 1_000
/**
 * Milliseconds: long enough for an owner that is alive to tell the store what it has kept, which it tries four times a
 * second, or six times a lease.
 */
const HESITATION = 500

/**
 * Since when this process has heard the store, which decides whether it may take over a lease that ran out. An owner is
 * silent either because it died or because the store could not be reached or took no writes. Whoever has not heard the
 * store itself cannot tell these two apart: after an outage that outlasted the leases it must not be quicker than the
 * owners, which hold outcomes that they have yet to store.
 */
export class Hearing {
  /** `performance.now()` of the last call that the store answered. */
  #lastHeard = -Infinity
  /** `performance.now()` of the first such call that no pause and no failure came after. */
  #heardSince = Infinity
  /** `performance.now()` of the last failure, or of the end of the last outage. */
  #lastFailure = -Infinity

  /** @param asked `performance.now()` before the call that was answered */
  heard (asked: number): void {
    if (asked - this.#lastHeard > PAUSE) this.#heardSince = asked
    this.#lastHeard = asked
  }

  failed (): void {
    this.#lastFailure = performance.now()
  }

  /**
   * Milliseconds for which leases that ran out are not to be taken over yet: one more lease after an outage, since
   * other processes may take that long to connect again; a moment after a pause.
   */
  patience (lease: number, now: number): number {
    const hesitation = Math.min(HESITATION, lease / 2)
    const afterOutage = this.#lastFailure + lease - now
    const afterPause = now - this.#lastHeard > PAUSE ? hesitation : this.#heardSince + hesitation - now
    return Math.max(0, afterOutage, afterPause)
  }

  /** `patience` where it is a moment, for which a request is held rather than refused: after an outage it may be a lease. */
  moment (lease: number, now: number): number {
    const patience = this.patience(lease, now)
    return patience > HESITATION ? 0 : patience
  }
}
