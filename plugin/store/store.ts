/**
 * Where records live, in terms of records and outcomes.
 *
 * ```
 *            claim                    complete
 * (absent) ─────────▶ running(n) ───────────────▶ settled          kept for `retention`
 *                      │   ▲ │
 *     lease ran out ───┘   │ └─── release ──▶ released(n)
 *     (attempt n+1)        └──────── claim: attempt n+1
 * ```
 *
 * Every transition is atomic in the store, and leases are measured there, on one clock. A settled record is forgotten
 * `retention` after its completion, another one `retention` after its lease would have run out.
 *
 * An `id` is 43 characters, a SHA-256 in base64url. Outcomes are the store's to keep: it changes nothing of what it is
 * given, and the caller nothing of what it gets.
 *
 * A method rejects when the store cannot be asked or does not answer. It rejects with a `StoreUnreachableError` if it
 * is certain that the store was not touched; after any other rejection the plugin assumes that it may have been.
 */
export interface Store {
  /**
   * Take the key if it is absent or released, or if its owner's lease ran out.
   * Asked again with the owner that already has it, it answers `claimed` again: a lost answer does no harm.
   */
  claim (id: string, claim: Claim): Promise<ClaimResult>
  /** Start the owner's lease anew. False: the key is somebody else's. An absent record is written again. */
  renew (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Settle the key, if it is still the owner's or the record is gone altogether (then nobody else owns it).
   * False: it is somebody else's, and nothing was changed. Done twice with one outcome, it succeeds twice.
   */
  complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean>
  /** Give the key back, its attempt remembered. Otherwise as `complete`; `attempt` 0 writes no absent record. */
  release (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Resolve when a running key may have been settled or released, when `signal` aborts, or after `timeout` ms,
   * whichever is first. It may resolve early without a cause, and it never rejects: the caller claims again anyway.
   */
  wait (id: string, timeout: number, signal: AbortSignal): Promise<void>
  /** The record as it is, or `null`. */
  find (id: string): Promise<StoredRecord | null>
  /** Erase the record, whatever its state. Resolves to whether there was one. */
  forget (id: string): Promise<boolean>
}

/** One request's wish to own a key. */
export interface Claim {
  /** 18 visible ASCII characters that no other request has. */
  readonly owner: string
  /** 43 characters: the SHA-256, in base64url, of what makes two requests the same. */
  readonly fingerprint: string
  /** Milliseconds, below 2^31. */
  readonly lease: number
  /** Milliseconds, at most 2^48 - 2^31. */
  readonly retention: number
  /** The fingerprint of the same request in the form that another version of this package writes. */
  readonly alternativeFingerprint?: () => string
}

/** A claim that was granted. */
export interface OwnedClaim extends Claim {
  /** 1 or more; 0 where the answer to the claim never came, so that it is not known. */
  readonly attempt: number
}

export type ClaimResult =
  | { state: 'claimed', attempt: number }
  /** Somebody else's lease lasts for another `leaseLeft` ms unless it is renewed. */
  | { state: 'running', leaseLeft: number }
  | { state: 'settled', attempt: number, outcome: Outcome }
  /** The record, whatever its state, was made by a request with another fingerprint. */
  | { state: 'mismatch' }

/** What came of a run. */
export interface Outcome {
  statusCode: number
  /** `null` if the response could not be kept. */
  response: KeptResponse | null
}

export interface KeptResponse {
  /** Lower-case names. A `null` value says that the run removed a header which had been set before it. */
  headers: Array<[name: string, value: string | string[] | null]>
  /** Text as it was sent; a store may answer with its bytes in UTF-8. */
  body: string | Buffer
}

export interface StoredRecord {
  state: 'running' | 'released' | 'settled'
  attempt: number
  /** Milliseconds until the record is forgotten. */
  expiresIn: number
  /** Milliseconds; `null` unless running. */
  leaseLeft: number | null
  /** `null` unless settled. */
  outcome: Outcome | null
}

/** The store cannot be reached, and nothing was sent to it. */
export class StoreUnreachableError extends Error {
  override name = 'StoreUnreachableError'
}
