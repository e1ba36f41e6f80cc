import { isUtf8 } from 'node:buffer'
import { LinkedList } from '../shared/linked-list.ts'
import type { Linked } from '../shared/linked-list.ts'
import type { Claim, KeptResponse, Outcome, OwnedClaim } from '../store/store.ts'
import { IdTable } from './id-table.ts'
import type { TableEntry } from './id-table.ts'
import { wasSentAsText } from './sent-as-text.ts'

// Bytes, as measured in V8: an entry without its headers and its body, a header or one of its values without its
// characters, and a Buffer without its bytes.
const ENTRY_SIZE = 384
const HEADER_SIZE = 128
const BUFFER_SIZE = 128
/** An entry may take this part of the whole size: one large response must not push out all others. */
const LARGEST_PART = 4
/** How many expired entries one insertion removes at most, so that no request pays for all of them after a pause. */
const EXPIRED_AT_ONCE = 4

/** An outcome that this process has in memory. */
export interface CachedOutcome {
  readonly attempt: number
  readonly outcome: Outcome
}

/**
 * It consists of as few objects as possible, because each object that lives for seconds is copied by the garbage
 * collector. That would be the largest part of what the cache costs a first run.
 */
class Entry implements CachedOutcome, TableEntry<Entry>, Linked<Entry> {
  readonly id: string
  readonly fingerprint: string
  readonly attempt: number
  readonly statusCode: number
  readonly headers: KeptResponse['headers']
  readonly body: KeptResponse['body']
  readonly size: number
  /** `performance.now()` from which it is not used any more, as an integer: V8 keeps those without an object. */
  readonly expiresAt: number
  previous: Entry | null = null
  next: Entry | null = null
  nextInBucket: Entry | null = null

  constructor (
    id: string, { fingerprint, attempt }: Pick<OwnedClaim, 'fingerprint' | 'attempt'>, statusCode: number,
    headers: KeptResponse['headers'], body: KeptResponse['body'], size: number, expiresAt: number
  ) {
    this.id = id
    this.fingerprint = fingerprint
    this.attempt = attempt
    this.statusCode = statusCode
    this.headers = headers
    this.body = body
    this.size = size
    this.expiresAt = Math.floor(expiresAt)
  }

  get outcome (): Outcome {
    return { statusCode: this.statusCode, response: { headers: this.headers, body: this.body } }
  }
}

/**
 * The outcomes that this process has stored or read a short time ago. A duplicate of the same request is answered from
 * here, without the store. Entries leave when they are older than `maxAge`, and the oldest ones when there is no room.
 * It has no timer: an insertion removes some of the expired entries, and no expired entry is ever returned.
 */
export class ReplayCache {
  readonly #maxSize: number
  readonly #maxAge: number
  readonly #entries = new IdTable<Entry>()
  /** The same entries, in the order in which they leave. */
  readonly #order = new LinkedList<Entry>()
  #size = 0
  /** `performance.now()` when a key was forgotten last. */
  #forgottenAt = -Infinity

  /**
   * @param maxSize bytes: the estimated size of all entries
   * @param maxAge milliseconds
   */
  constructor (maxSize: number, maxAge: number) {
    this.#maxSize = maxSize
    this.#maxAge = maxAge
  }

  /** Bytes: the estimated size of all entries. */
  get size (): number {
    return this.#size
  }

  /** How many entries there are. Some may have expired. */
  get entries (): number {
    return this.#entries.size
  }

  /**
   * The outcome of a key, if it belongs to the request with this fingerprint. Nothing is known of any other request:
   * the store has to decide.
   * @param now `performance.now()`
   */
  get (id: string, fingerprint: string, now: number): CachedOutcome | null {
    const entry = this.#entries.get(id)
    if (entry === undefined) return null
    if (entry.expiresAt <= now) {
      this.#remove(entry)
      return null
    }
    return entry.fingerprint === fingerprint ? entry : null
  }

  /**
   * Keeps an outcome that the store has taken.
   * @param sentAt `performance.now()` before the store was called: the retention cannot have begun earlier
   */
  keepStored (id: string, owned: OwnedClaim, outcome: Outcome, sentAt: number): void {
    this.#keep(id, owned, outcome, sentAt, Math.min(this.#maxAge, owned.retention))
  }

  /**
   * Keeps an outcome that the store has returned. How much is left of its retention is not known, so it may be used
   * for up to `maxAge` longer. An outcome whose whole retention is not longer than that is not kept.
   * @param claim the claim that the outcome is the answer to
   * @param sentAt `performance.now()` before the store was called
   */
  keepRead (id: string, { fingerprint, retention }: Claim, { attempt, outcome }: CachedOutcome, sentAt: number): void {
    if (retention > this.#maxAge) this.#keep(id, { fingerprint, attempt }, outcome, sentAt, this.#maxAge)
  }

  /**
   * Removes a key that the store forgets or has forgotten. What the store was asked before now may come from before
   * that, so answers that are on their way are not kept. This holds for all keys, because keys are rarely forgotten.
   */
  forget (id: string): void {
    this.#forgottenAt = performance.now()
    const entry = this.#entries.get(id)
    if (entry !== undefined) this.#remove(entry)
  }

  #keep (
    id: string, owner: Pick<OwnedClaim, 'fingerprint' | 'attempt'>, { statusCode, response }: Outcome, sentAt: number,
    maxAge: number
  ): void {
    // The entry may be of an earlier run or of another request, so it leaves even if the new outcome is not kept.
    const present = this.#entries.get(id)
    if (present !== undefined) this.#remove(present)
    if (response === null || sentAt <= this.#forgottenAt) return
    const size = ENTRY_SIZE + sizeOf(response)
    if (size > this.#maxSize / LARGEST_PART) return
    this.#makeRoom(size)
    const last = this.#order.last?.headers
    // The answers of a route mostly have the same headers.
    const headers = last !== undefined && areSame(response.headers, last) ? last : response.headers
    this.#add(new Entry(id, owner, statusCode, headers, ownBody(response), size, sentAt + maxAge))
  }

  #makeRoom (size: number): void {
    const now = performance.now()
    let expired = 0
    for (let entry = this.#order.first; entry !== null; entry = this.#order.first) {
      const isFull = this.#size + size > this.#maxSize
      if (!isFull && (entry.expiresAt > now || ++expired > EXPIRED_AT_ONCE)) return
      this.#remove(entry)
    }
  }

  #add (entry: Entry): void {
    this.#entries.add(entry)
    this.#order.append(entry)
    this.#size += entry.size
  }

  #remove (entry: Entry): void {
    this.#entries.delete(entry.id)
    this.#order.remove(entry)
    this.#size -= entry.size
  }
}

function areSame (a: KeptResponse['headers'], b: KeptResponse['headers']): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) {
    if (a[i]?.[0] !== b[i]?.[0] || a[i]?.[1] !== b[i]?.[1]) return false
  }
  return true
}

function sizeOf ({ headers, body }: KeptResponse): number {
  let size = typeof body === 'string' ? textSizeOf(body) : BUFFER_SIZE + body.length
  for (const [name, value] of headers) {
    size += HEADER_SIZE + name.length
    if (typeof value === 'string') size += value.length
    else if (value !== null) for (const one of value) size += HEADER_SIZE + one.length
  }
  return size
}

/** V8 keeps text in one byte a character, or in two if any character needs two. */
function textSizeOf (text: string): number {
  return Buffer.byteLength(text) === text.length ? text.length : 2 * text.length
}

/**
 * The body as the cache may keep it: text, or a copy of the bytes. A hook that comes later may change the bytes of the
 * answer in place. And the bytes may be a small part of what a client of the store read from its connection, all of
 * which would stay in memory with them.
 */
function ownBody ({ headers, body }: KeptResponse): string | Buffer {
  if (typeof body === 'string') return body
  if (wasSentAsText(headers) && isUtf8(body)) return body.toString()
  const copy = Buffer.allocUnsafeSlow(body.length)
  copy.set(body)
  return copy
}
