import type { Writable } from 'node:stream'

/** The function as it was when this module was loaded. Fake timers of a test must not hold the commands back. */
const { setImmediate } = globalThis

/** The streams that hold back what is written to them. */
const corked = new Set<Writable>()

/**
 * Makes a stream hold back what is written to it until the event loop has read everything that has arrived. All of it
 * leaves in one write then: for a server under load a write of its own for each command would be the largest cost, for
 * Redis too.
 */
export function corkForThisTurn (stream: Writable): void {
  if (corked.has(stream)) return
  corked.add(stream)
  stream.cork()
  // Each stream has an immediate of its own, so a stream that throws does not leave the others corked.
  setImmediate(uncork, stream)
}

function uncork (stream: Writable): void {
  corked.delete(stream)
  stream.uncork()
}
