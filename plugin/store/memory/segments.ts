/** Bytes of a segment. */
const SEGMENT_SIZE = 128 * 1024
/** A value that may need more bytes than this gets a Buffer of its own, so that little of a segment stays unused. */
const LARGE = SEGMENT_SIZE / 8
/** The most bytes that UTF-8 needs for one UTF-16 code unit. */
const UTF8_MAX = 3

/** Where a value is. */
export interface Location {
  readonly segment: Buffer
  readonly start: number
  readonly end: number
}

/**
 * Keeps values as bytes outside of the JavaScript heap, one after the other in segments. The garbage collector would
 * copy and mark a value in the heap, and that costs more CPU than everything else that a memory store does.
 *
 * No byte of a segment is written twice, and nothing here refers to a full segment. So the garbage collector frees a
 * segment once no location refers to it any more. Since the store forgets the oldest values first, all values of a
 * segment go at about the same time.
 */
export class Segments {
  #segment = Buffer.alloc(0)
  #end = 0

  add (value: string | Buffer): Location {
    const longest = typeof value === 'string' ? value.length * UTF8_MAX : value.length
    if (longest > LARGE) {
      const segment = typeof value === 'string' ? Buffer.from(value) : value
      return { segment, start: 0, end: segment.length }
    }
    if (this.#end + longest > this.#segment.length) {
      this.#segment = Buffer.allocUnsafeSlow(SEGMENT_SIZE)
      this.#end = 0
    }
    const segment = this.#segment
    const start = this.#end
    this.#end += typeof value === 'string' ? segment.write(value, start) : value.copy(segment, start)
    return { segment, start, end: this.#end }
  }
}
