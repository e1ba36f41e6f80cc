/** What a `LinkedList` holds. An object is in one list at most. Only the list reads and sets these two. */
export interface Linked<T> {
  previous: T | null
  next: T | null
}

/**
 * Objects in the order in which they were appended: a doubly linked list, which finds the first and removes any one in
 * constant time. A `Map` or a `Set` keeps an order too, but a new iterator has to skip all entries that were deleted at
 * its beginning, and there can be as many of these as entries that are left.
 */
export class LinkedList<T extends Linked<T>> {
  first: T | null = null
  last: T | null = null

  append (item: T): void {
    item.previous = this.last
    if (this.last === null) this.first = item
    else this.last.next = item
    this.last = item
  }

  /** Whether the item was in the list. */
  remove (item: T): boolean {
    const { previous, next } = item
    if (previous === null && this.first !== item) return false
    if (previous === null) this.first = next
    else previous.next = next
    if (next === null) this.last = previous
    else next.previous = previous
    // A removed item that the garbage collector has not found yet must not keep its neighbours.
    item.previous = item.next = null
    return true
  }
}
