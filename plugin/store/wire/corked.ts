import type { Writable } from 'node:stream'

/** The streams that hold back what is written to them. */
const corked = new Set<Writable>()

/**
 * Makes a stream hold back what is written to it until the event loop has read everything that has arrived. All of it
 * leaves in one write then: for a server under load a write of its own for each command would be the largest cost, for
 * Redis too.
 */
export function corkForThisTurn (stream: Writable): void {
  if (corked.has(stream)) return
  if (corked.size === 0) setImmediate(uncorkAll)
  corked.add(stream)
  stream.cork()
}

function uncorkAll (): void {
  for (const stream of corked) stream.uncork()
  corked.clear()
}
