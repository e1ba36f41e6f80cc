/** Something that is in a `ChangeOrder`. */
export interface Ordered<T> {
  previous: T | null
  next: T | null
}

/**
 * Records in the order of their last change: a doubly linked list, which finds the first and removes any one in
 * constant time. A `Map` keeps an order too, but a new iterator has to skip all entries that were deleted at its
 * beginning, and there can be as many of these as entries that are left.
 */
export class ChangeOrder<T extends Ordered<T>> {
  first: T | null = null
  #last: T | null = null

  append (record: T): void {
    record.previous = this.#last
    if (this.#last === null) this.first = record
    else this.#last.next = record
    this.#last = record
  }

  remove (record: T): void {
    const { previous, next } = record
    if (previous === null) this.first = next
    else previous.next = next
    if (next === null) this.#last = previous
    else next.previous = previous
    record.previous = record.next = null
  }
}
