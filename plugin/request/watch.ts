import type { FastifyInstance, FastifyReply } from 'fastify'
import { settleUnseen } from './complete.ts'
import { Run } from './run.ts'
import { kIdempotency } from './state.ts'
import type { Engine } from '../core/engine.ts'

const kOwnReplies = Symbol('fastify-idempotency.ownReplies')
const kWatched = Symbol('fastify-idempotency.watched')

/** Gives the replies of this app a prototype of their own: those of an app that has no decorators share Fastify's. */
export function separateReplies (app: FastifyInstance): void {
  app.decorateReply(kOwnReplies, function () {})
}

/**
 * Learns of trailers, which are not kept, and of `reply.hijack()`, after which the answer leaves without passing through
 * `onSend`. Fastify tells nobody, so the two methods tell: of all replies of a context at once, since a closure or a
 * listener for each reply would be dearer than everything else here.
 */
export function watchReplies (engine: Engine, reply: FastifyReply): void {
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
        if (state instanceof Run) this.raw.once('finish', () => { void settleUnseen(engine, state) })
        return hijack.call(this)
      }
    }
  })
}
