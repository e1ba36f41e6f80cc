import type { Writable } from 'node:stream'

/** The function as it was when this module was loaded. Fake timers of a test must not hold the commands back. */
const { setImmediate } = globalThis

/** On a stream that holds back what is written to it. A Set of them would be rehashed every few turns. */
const kCorked = Symbol('fastify-idempotency.corked')

type Corkable = Writable & { [kCorked]?: boolean }

/**
 * Makes a stream hold back what is written to it until the event loop has read everything that has arrived. All of it
 * leaves in one write then: for a server under load a write of its own for each command would be the largest cost, for
 * Redis too.
 */
export function corkForThisTurn (stream: Corkable): void {
  if (stream[kCorked] === true) return
  stream[kCorked] = true
  stream.cork()
  setImmediate(uncork, stream)
}

function uncork (stream: Corkable): void {
  stream[kCorked] = false
  stream.uncork()
}
