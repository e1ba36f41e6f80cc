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
 * A method rejects when the store cannot be asked, refuses, or does not answer. It rejects with a
 * `StoreUnreachableError` if nothing was sent, with a `StoreRefusedError` if the store answered that it did not do it,
 * and with a `RecordUnreadableError` if the key has a record that it cannot read. After each of these nothing has
 * changed. After any other rejection the plugin assumes that something may have.
 */
export interface Store {
  /**
   * Take the key if it is absent or released, or if its owner's lease ran out and `claim.takeOver` is true.
   * While the store takes no writes it still answers with what is settled, running, or another request's.
   * Asked again with the owner that already has it, it answers `claimed` again: a lost answer does no harm.
   */
  claim (id: string, claim: Claim): Promise<ClaimResult>
  /** Start the owner's lease anew. False: the key is somebody else's. An absent record is written again. */
  renew (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Settle the key, if it is still the owner's or the record is gone altogether (then nobody else owns it), or if the
   * claim that took it over was withdrawn (then nothing ran since).
   * False: it is somebody else's, and nothing was changed. Done twice with one outcome, it succeeds twice.
   */
  complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean>
  /** Give the key back, its attempt remembered. Otherwise as `complete`. */
  release (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Undo a claim that was granted, or may have been, and let nothing run: an attempt counts only what ran. A key that
   * nobody had before is absent again; one that was taken over or released is released, with the attempt that it had.
   * False: the key is not this claim's (any more), and nothing was changed. Done twice, it changes nothing twice.
   */
  withdraw (id: string, claim: Claim): Promise<boolean>
  /**
   * Note that the owner's client has left, so that a duplicate is that client's retry: claims of the running key answer
   * `ownerLeft: true` from now on. False: the key is not the owner's any more, and nothing was changed.
   */
  markLeft (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Resolve when a running key may have been settled, released or withdrawn, or its owner's client may have left, when
   * `signal` aborts, or after `timeout` ms, whichever is first. It may resolve early without a cause, and it never rejects: the caller claims again anyway.
   */
  wait (id: string, timeout: number, signal: AbortSignal): Promise<void>
  /** The record as it is, or `null`. One that it cannot read is told by `state: 'unreadable'`. */
  find (id: string): Promise<StoredRecord | null>
  /** Erase the record, whatever its state. Resolves to whether there was one. */
  forget (id: string): Promise<boolean>
  /**
   * Calls `listener` each time that the store can be reached again after it could not be, until the returned function
   * is called. Without it the plugin finds out by asking.
   */
  onReady? (listener: () => void): () => void
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
  /**
   * Whether an owner whose lease ran out may be replaced. False: its key is answered as `running`, with `leaseLeft` 0.
   * After an outage of the store whoever asks first cannot tell an owner that died from one that was not heard.
   */
  readonly takeOver: boolean
  /**
   * The fingerprint of the same request in the record format that this process does not write. For comparing with
   * records, and only called for these: a store with one format needs none.
   */
  readonly alternativeFingerprint?: (() => string) | undefined
}

/** A claim that was granted. */
export interface OwnedClaim extends Claim {
  /** 1 or more. */
  readonly attempt: number
}

export type ClaimResult =
  | { state: 'claimed', attempt: number }
  /**
   * Somebody else's lease lasts for another `leaseLeft` ms unless it is renewed.
   * `ownerLeft`: see `Store.markLeft`.
   */
  | { state: 'running', leaseLeft: number, ownerLeft: boolean }
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
  /**
   * Lower-case names. A `null` value says that the run removed a header which had been set before it, or stands with
   * `:text`: the body was sent as text.
   */
  headers: Array<[name: string, value: string | string[] | null]>
  /** Text as it was sent; a store may answer with its bytes in UTF-8. */
  body: string | Buffer
}

export interface StoredRecord {
  /** `unreadable`: written by another version of this package, or not by it at all. */
  state: 'running' | 'released' | 'settled' | 'unreadable'
  /** 0 if it is unreadable. */
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

/** The store answered that it did not do what it was asked (it is full, read-only, or forbids it). Nothing has changed. */
export class StoreRefusedError extends Error {
  override name = 'StoreRefusedError'
}

/** The key has a record that this version of the package cannot read, so what became of its request is not known here. */
export class RecordUnreadableError extends Error {
  override name = 'RecordUnreadableError'
}
