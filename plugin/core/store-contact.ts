/** Milliseconds without a call after which a process no longer knows whether it can reach the store. */
const SILENCE = 1_000
/**
 * Milliseconds: long enough for an owner that is alive to store its outcome. It tries four times a second, or six times
 * a lease.
 */
const HESITATION = 500

/**
 * For how long this process has been in contact with the store. That decides whether the process may take over a lease
 * that ran out. An owner is silent because it died, or because the store could not be reached or took no writes. A
 * process that could not reach the store itself cannot tell the two apart. After an outage that lasted longer than the
 * leases, it must not be quicker than the owners, which still hold outcomes that the store does not have.
 */
export class StoreContact {
  /** `performance.now()` before the last call that the store answered. */
  #lastAnsweredAt = -Infinity
  /** `performance.now()` before the first call of an unbroken row of answers. */
  #unbrokenSince = Infinity
  /** `performance.now()` of the last failure, or of the end of the last outage. */
  #lastFailedAt = -Infinity

  /** @param sentAt `performance.now()` before the call */
  answered (sentAt: number): void {
    if (sentAt - this.#lastAnsweredAt > SILENCE) this.#unbrokenSince = sentAt
    this.#lastAnsweredAt = sentAt
  }

  failed (): void {
    this.#lastFailedAt = performance.now()
  }

  /**
   * Milliseconds for which this process must not yet take over a lease that ran out: a whole lease after an outage,
   * since other processes may take that long to connect again; a short time after a silence.
   * @param lease milliseconds
   * @param now `performance.now()`
   */
  takeOverDelay (lease: number, now: number): number {
    const hesitation = Math.min(HESITATION, lease / 2)
    const afterOutage = this.#lastFailedAt + lease - now
    const wasSilent = now - this.#lastAnsweredAt > SILENCE
    const afterSilence = wasSilent ? hesitation : this.#unbrokenSince + hesitation - now
    return Math.max(0, afterOutage, afterSilence)
  }

  /**
   * `takeOverDelay` if it is so short that a request is better held than rejected, and 0 if not. After an outage the
   * delay may be a whole lease.
   */
  shortTakeOverDelay (lease: number, now: number): number {
    const delay = this.takeOverDelay(lease, now)
    return delay > HESITATION ? 0 : delay
  }
}
