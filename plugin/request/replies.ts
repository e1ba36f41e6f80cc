import type { FastifyInstance, FastifyReply } from 'fastify'
import { releaseOrSettle } from './end.ts'
import { Run } from './run.ts'
import { kIdempotency } from './state.ts'

const kOwnReplies = Symbol('fastify-idempotency.ownReplies')
const kWatched = Symbol('fastify-idempotency.watched')

/**
 * Gives the replies of this app a prototype of their own. Without a decorator apps share the prototype of Fastify, and
 * to wrap its methods would reach other apps.
 */
export function separateReplies (app: FastifyInstance): void {
  app.decorateReply(kOwnReplies, function () {})
}

/**
 * Learns of trailers, which are not kept, and of `reply.hijack()`, after which the answer leaves without passing
 * through `onSend`. Fastify has no event for either, so the two methods are wrapped, on the prototype that all replies
 * of a context share: a closure or a listener for each reply would cost more than everything else here.
 */
export function watchReplies (reply: FastifyReply): void {
  if (kWatched in reply) return
  const prototype = Object.getPrototypeOf(reply) as FastifyReply
  const { trailer, hijack } = prototype
  Object.defineProperties(prototype, {
    [kWatched]: { value: true },
    trailer: {
      configurable: true,
      writable: true,
      value: function (this: FastifyReply, ...args: Parameters<FastifyReply['trailer']>) {
        const state = this.request[kIdempotency]
        if (state instanceof Run) state.hasTrailers = true
        return trailer.apply(this, args)
      }
    },
    hijack: {
      configurable: true,
      writable: true,
      value: function (this: FastifyReply) {
        const state = this.request[kIdempotency]
        if (state instanceof Run) this.raw.once('finish', () => { void releaseOrSettle(state) })
        return hijack.call(this)
      }
    }
  })
}
