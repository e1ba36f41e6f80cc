/** What an `IdTable` holds. An object is in one table at most. */
export interface TableEntry<T> {
  /** The id of a record: base64url of a hash, so all its characters are equally likely. */
  readonly id: string
  /** The next entry in the same bucket. Only the table reads and sets it. */
  nextInBucket: T | null
}

/** Powers of two. A table that has more entries than the most buckets gets slower, but not wrong. */
const FIRST_BUCKETS = 1_024
const MOST_BUCKETS = 65_536

/**
 * A hash table by record id, for entries that come and go with each request. A Map is worse at that: it copies itself
 * into a new table after every few deletions, and V8 makes each old table refer to the next one. As soon as one old
 * table has moved to the old generation, the garbage collector keeps all later tables and the requests in them, until
 * its next full collection. Measured, that cost up to 50 µs a request.
 */
export class IdTable<T extends TableEntry<T>> {
  #buckets: Array<T | null> = new Array<T | null>(FIRST_BUCKETS).fill(null)
  #size = 0

  get size (): number {
    return this.#size
  }

  get (id: string): T | undefined {
    let entry = this.#buckets[this.#bucketOf(id)] as T | null
    while (entry !== null && entry.id !== id) entry = entry.nextInBucket
    return entry ?? undefined
  }

  /** The entry takes the place of one with the same id. */
  add (entry: T): void {
    this.delete(entry.id)
    this.#put(entry)
    if (++this.#size > this.#buckets.length && this.#buckets.length < MOST_BUCKETS) this.#grow()
  }

  delete (id: string): void {
    const bucket = this.#bucketOf(id)
    let before: T | null = null
    let entry = this.#buckets[bucket] as T | null
    while (entry !== null && entry.id !== id) {
      before = entry
      entry = entry.nextInBucket
    }
    if (entry === null) return
    if (before === null) this.#buckets[bucket] = entry.nextInBucket
    else before.nextInBucket = entry.nextInBucket
    // An entry that has left must not keep others alive either.
    entry.nextInBucket = null
    this.#size--
  }

  values (): T[] {
    const values: T[] = []
    for (const first of this.#buckets) {
      for (let entry = first; entry !== null; entry = entry.nextInBucket) values.push(entry)
    }
    return values
  }

  #put (entry: T): void {
    const bucket = this.#bucketOf(entry.id)
    entry.nextInBucket = this.#buckets[bucket] as T | null
    this.#buckets[bucket] = entry
  }

  #grow (): void {
    const entries = this.values()
    this.#buckets = new Array<T | null>(this.#buckets.length * 4).fill(null)
    for (const entry of entries) this.#put(entry)
  }

  /** The first three characters stand for 18 bits of a hash. This spreads them evenly over the buckets. */
  #bucketOf (id: string): number {
    return ((id.charCodeAt(0) * 67 + id.charCodeAt(1)) * 67 + id.charCodeAt(2)) & (this.#buckets.length - 1)
  }
}
