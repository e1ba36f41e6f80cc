/**
 * Where the plugin keeps its records. The interface speaks of records and outcomes, not of HTTP.
 *
 * ```
 *            claim                    complete
 * (absent) ─────────▶ running(n) ───────────────▶ settled          kept for `retention`
 *                      │   ▲ │
 *     lease ran out ───┘   │ └─── release ──▶ released(n)
 *     (attempt n+1)        └──────── claim: attempt n+1
 * ```
 *
 * Every transition is atomic in the store, and the store measures leases on its own clock. It forgets a settled record
 * `retention` after its completion, and any other record `retention` after the end of its lease.
 *
 * An `id` has 43 characters: a SHA-256 in base64url. A store must not change anything that it is given, and a caller
 * must not change anything that it gets: the store may keep or return the same object.
 *
 * A method rejects when the store cannot be reached, refuses, or does not answer. It rejects with a
 * `StoreUnreachableError` if it sent nothing, with a `StoreRefusedError` if the store answered that it did not carry
 * out the command, and with a `RecordUnreadableError` if the key has a record that the store cannot read. After each of
 * these errors nothing has changed. After any other error the plugin assumes that something may have changed.
 */
export interface Store {
  /**
   * Take the key if it is absent or released, or if its owner's lease ran out and `claim.takeOver` is true.
   * While the store accepts no writes, it still reports a settled or a running record, or a mismatch.
   * A second claim of the current owner is answered with `claimed` again, so that a lost answer does no harm.
   */
  claim (id: string, claim: Claim): Promise<ClaimResult>
  /** Renew the owner's lease. False: somebody else has the key. An absent record is written again. */
  renew (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Store the outcome, if the key still belongs to this owner. It also succeeds if the record does not exist any more,
   * since nobody else owns the key then, and if another claim took the key over but was withdrawn, since nothing ran
   * then. False: somebody else has the key, and nothing was changed. A second call with the same outcome succeeds too.
   */
  complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean>
  /** Give the key back. The record remembers the attempt. Conditions and result are those of `complete`. */
  release (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Undo a claim that was granted, or may have been granted, and let nothing run: only runs count as attempts. If
   * nobody had the key before this claim, the key is absent again. If the claim took the key over, or found it
   * released, the key is released and has the attempt that it had before. False: the key does not belong to this claim
   * (any more), and nothing was changed. A second call changes nothing.
   */
  withdraw (id: string, claim: Claim): Promise<boolean>
  /**
   * Note that the owner's client has disconnected, so that a duplicate must be that client's retry. From now on claims
   * of the running key are answered with `ownerLeft: true`. False: the owner does not have the key any more, and
   * nothing was changed.
   */
  markLeft (id: string, owned: OwnedClaim): Promise<boolean>
  /**
   * Resolve when a running key may have been settled, released or withdrawn, when its owner's client may have
   * disconnected, when `signal` aborts, or after `timeout` ms, whichever comes first. It may resolve early without a
   * reason, since the caller claims the key again in any case. It never rejects.
   */
  wait (id: string, timeout: number, signal: AbortSignal): Promise<void>
  /** The record as it is, or `null`. The state of a record that the store cannot read is `unreadable`. */
  find (id: string): Promise<StoredRecord | null>
  /** Erase the record, whatever its state. Resolves to whether there was one. */
  forget (id: string): Promise<boolean>
  /**
   * Call `listener` each time the store becomes reachable after it was not, until the returned function is called. For
   * a store without this method the plugin finds out by asking.
   */
  onReady? (listener: () => void): () => void
  /**
   * Call `listener` with the id each time another process has forgotten a key, as far as this process learns of it,
   * until the returned function is called. The plugin keeps outcomes in its own memory for up to
   * `replayCache.maxAge`. With a store without this method they are used for that long after a `forget` in another
   * process.
   */
  onForgotten? (listener: (id: string) => void): () => void
}

/** What a contender claims a key with. */
export interface Claim {
  /** 18 visible ASCII characters that no other contender has. */
  readonly owner: string
  /** 43 characters: the SHA-256, in base64url, of what makes two requests the same. */
  readonly fingerprint: string
  /** Milliseconds, below 2^31. */
  readonly lease: number
  /** Milliseconds, at most 2^48 - 2^31. */
  readonly retention: number
  /**
   * Whether this claim may replace an owner whose lease ran out. False: the answer is `running`, with `leaseLeft` 0.
   * After an outage of the store the first contender cannot distinguish an owner that died from one that could not
   * reach the store.
   */
  readonly takeOver: boolean
  /**
   * Returns the fingerprint of the same request in the record format that this process does not write. A store calls it
   * to compare the claim with a record in that format. A store with only one format does not need it.
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
   * Somebody else has the key, for another `leaseLeft` ms unless the owner renews its lease.
   * `ownerLeft`: see `Store.markLeft`.
   */
  | { state: 'running', leaseLeft: number, ownerLeft: boolean }
  | { state: 'settled', attempt: number, outcome: Outcome }
  /** The record, whatever its state, belongs to a request with another fingerprint. */
  | { state: 'mismatch' }

/** What a run ended with. */
export interface Outcome {
  statusCode: number
  /** `null` if the response could not be kept. */
  response: KeptResponse | null
}

export interface KeptResponse {
  /**
   * Lower-case names. The value `null` means that the run removed a header that had been set before it. A `:text` with
   * the value `null` means that the body was sent as text.
   */
  headers: Array<[name: string, value: string | string[] | null]>
  /** Text as it was sent. A store may return the text's bytes in UTF-8 instead. */
  body: string | Buffer
}

export interface StoredRecord {
  /** `unreadable`: written by another version of this package, or by something else. */
  state: 'running' | 'released' | 'settled' | 'unreadable'
  /** 0 if the record is unreadable. */
  attempt: number
  /** Milliseconds until the store forgets the record. */
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

/**
 * The store answered that it did not carry out the command: it is full, read-only, or forbids it. Nothing has changed.
 */
export class StoreRefusedError extends Error {
  override name = 'StoreRefusedError'
}

/**
 * The key has a record that this version of the package cannot read, so the outcome of its request is not known here.
 */
export class RecordUnreadableError extends Error {
  override name = 'RecordUnreadableError'
}
