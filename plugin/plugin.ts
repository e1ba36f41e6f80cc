import { setMaxListeners } from 'node:events'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { Deadline } from './core/store-timeout.ts'
import { IdempotencyError } from './errors.ts'
import { Hearing } from './core/store-contact.ts'
import { checkJournals } from './journal/check.ts'
import { Purger } from './journal/purger.ts'
import { Leases } from './core/leases.ts'
import { checkPluginOptions } from './options.ts'
import type { PluginSettings, RouteSettings } from './options.ts'
import { operatorOf } from './app/operator.ts'
import { Pending } from './core/retry-queue.ts'
import { claim } from './request/claim.ts'
import { letConnectionGo, settle, settleUnseen } from './request/complete.ts'
import { fingerprinterOf } from './request/fingerprint.ts'
import type { Fingerprinter } from './request/fingerprint.ts'
import { isRecorded } from './request/record.ts'
import { problemOf, refusalHeaders } from './request/refuse.ts'
import { abandon, restore } from './request/replay.ts'
import { Run } from './request/run.ts'
import { ANSWERED, kIdempotency, Replay } from './request/state.ts'
import { kFingerprint, takeFingerprint } from './request/take-fingerprint.ts'
import type { Engine } from './core/engine.ts'
import { separateReplies } from './request/watch.ts'
import { hasRoutes, isUnseen, listOf, markSeen, protectedMethods, protectionOf } from './routes.ts'
import type { SeenRoute } from './routes.ts'
import { RedisStore } from './store/redis.ts'
import type { RedisClient } from './store/redis.ts'
import type { IdempotencyOptions } from './types.ts'
import { liesIn, watchRoutes } from './unprotected.ts'

/** The wiring: every hook, in the order in which they run. What they do is in `request/`, one step a file. */
export async function plugin (app: FastifyInstance, options: IdempotencyOptions): Promise<void> {
  if (app.hasDecorator('idempotency')) {
    throw new Error('fastify-idempotency is registered already, here or in a parent context: register it once, and set what differs in the routes\' config.idempotency')
  }
  const settings = checkPluginOptions(options)
  const ownStore = settings.store === undefined ? redisStore(settings) : null
  const store = ownStore ?? settings.store as NonNullable<typeof settings.store>
  const hearing = new Hearing()
  const deadline = new Deadline(settings.storeTimeout, hearing)
  const leases = new Leases(store, deadline, run => { void settleUnseen(engine, run) })
  leases.cover(settings.route.lease)
  // Other processes may still be connecting again.
  const stopListening = store.onReady?.(() => { hearing.failed() })
  const pending = new Pending(store, deadline, () => leases.period)
  const purger = new Purger(app.log)
  if (settings.route.journal !== false) purger.cover(settings.route.journal)
  const closing = new AbortController()
  // Everybody who waits listens.
  setMaxListeners(0, closing.signal)
  const engine: Engine = {
    settings,
    store,
    deadline,
    hearing,
    leases,
    pending,
    counts: { claimed: 0, retried: 0, completed: 0, released: 0, replayed: 0, recalled: 0, conflicts: 0, mismatches: 0, waited: 0, bypassed: 0 },
    acquisitions: new Map(),
    waiting: 0,
    log: app.log,
    closing: closing.signal
  }

  app.decorate('idempotency', operatorOf(engine))
  app.decorateRequest('idempotency', null)
  app.decorateRequest(kIdempotency, null)
  app.decorateRequest(kFingerprint, null)
  separateReplies(app)

  const wrongRoutes: unknown[] = []
  // What was warned of already: routes share settings.
  const warned = new Set<string>()

  app.addHook('onRoute', function protect (route) {
    const seen: SeenRoute = { protection: null, plugin: settings, route }
    markSeen(seen)
    // Later, when other plugins' onRoute hooks have added theirs to the route.
    this.after(() => {
      try {
        addHooks(route, seen)
      } catch (error) {
        wrongRoutes.push(error)
        route.onRequest = function refuseWrongRoute (_request, _reply, done) { done(error as Error) }
      }
    })
  })

  const { root, watched } = watchRoutes(app, settings)
  // What keeps the app from being ready keeps its requests from running, too.
  let { refusal } = watched

  app.addHook('onReady', async function refuseWrongOptionsOrStart () {
    try {
      if (wrongRoutes.length > 0) throw wrongRoutes[0]
      const patience = ofPluginTimeout(settings.storeTimeout)
      await Promise.all([checkJournals(purger.journals, app.log), settings.redisChecks && ownStore?.check(patience, app.log)])
      refusal = null
    } catch (error) {
      refusal = error as Error
      throw error
    }
    purger.start()
  })

  function addHooks (route: RouteOptions, seen: SeenRoute): void {
    const protection = seen.protection = protectionOf(route, settings)
    if (protection === null) return
    leases.cover(protection.lease)
    warnOfShortWaits(protection)
    if (protection.journal !== false) {
      purger.cover(protection.journal)
      route.preSerialization = [noteRecorded, ...listOf(route.preSerialization)]
    }
    const fingerprintOf = fingerprinterOf(route, protection)
    // A hook array may be shared with other routes (a GET and its HEAD sibling, say): replaced, never pushed to.
    route.preValidation = [takeFingerprintOf(route, protection, fingerprintOf), ...listOf(route.preValidation)]
    route.preHandler = [...listOf(route.preHandler), claimKeyOf(route, protection, fingerprintOf)]
    route.onError = [...listOf(route.onError), noteError]
  }

  function warnOfShortWaits ({ onConflict, waitTimeout, lease }: RouteSettings): void {
    const times = `"waitTimeout" (${waitTimeout} ms) is not above "lease" (${lease} ms)`
    if (onConflict !== 'wait' || waitTimeout > lease || warned.has(times)) return
    warned.add(times)
    app.log.warn(`idempotency: option ${times}: when a process dies in a handler, those who wait for its answer get a 409`)
  }

  // Where there is no route yet none can have been missed, and no request need be looked at.
  if (!watched.fromStart && hasRoutes(app)) {
    root.addHook('onRequest', function refuseUnseenRoute (request, _reply, done) {
      done(isUnseen(request, { global: settings.global && liesIn(this, app) })
        ? new IdempotencyError('FST_IDEMPOTENCY_ROUTE_UNSEEN', `The route ${request.method} ${request.routeOptions.url} asks for idempotency but was declared before the plugin was loaded, and would run unprotected: declare it after "await app.register(idempotency, …)", or in a plugin registered later`)
        : undefined)
    })
  }

  /** A route's first preValidation. */
  function takeFingerprintOf (route: RouteOptions, protection: RouteSettings, fingerprintOf: Fingerprinter) {
    const methods = protectedMethods(route, settings)
    return function noteFingerprint (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
      const taking = methods.has(request.method) ? takeFingerprint(fingerprintOf, protection, request) : undefined
      if (taking === undefined) done()
      else void taking.then(done)
    }
  }

  /** A route's last preHandler. In callback style: once it has replied it never calls `done`, so no handler runs. */
  function claimKeyOf (route: RouteOptions, protection: RouteSettings, fingerprintOf: Fingerprinter) {
    const methods = protectedMethods(route, settings)
    return function claimKey (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
      if (!methods.has(request.method)) return done()
      const refuse = (error: Error): void => {
        if (request[kIdempotency] === ANSWERED) return
        if (!(error instanceof IdempotencyError)) return done(error)
        refusalHeaders(reply, error, settings, protection)
        if (settings.errors === 'error-handler') return done(error)
        reply.send(problemOf(reply, error, settings))
      }
      if (refusal !== null) return refuse(watched.refusal ?? refusal)
      try {
        claim(engine, protection, fingerprintOf, request, reply).then((run) => { if (run) done() }, refuse)
      } catch (error) {
        refuse(error as Error)
      }
    }
  }

  /** The handler answers with what it recorded. Serialized it could not be told. */
  function noteRecorded (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: (error: null, payload: unknown) => void): void {
    const state = request[kIdempotency]
    if (state instanceof Run && state.recorded !== null) {
      state.recorded.answered = state.recorded.body === payload
      // Which schema it is serialized by.
      if (isRecorded(state.recorded, reply.statusCode, payload)) reply.code(state.recorded.outcome.statusCode)
    }
    done(null, payload)
  }

  function noteError (request: FastifyRequest, reply: FastifyReply, error: Error & { code?: string }, done: () => void): void {
    const state = request[kIdempotency]
    if (state instanceof Run && state.recorded !== null) state.recorded.answered = false
    if (state instanceof Replay) abandon(state, reply)
    if (error.code === 'FST_ERR_HANDLER_TIMEOUT') {
      if (state instanceof Run) state.outcomeUnknown = true
      else request[kIdempotency] = ANSWERED
    } else if (state instanceof Run) {
      // Told of once more where an onSend hook fails on the error's answer, too: Fastify sends it past the other hooks.
      if (state.failed) void settleUnseen(engine, state)
      state.failed = true
    }
    done()
  }

  app.addHook('onSend', function captureAndComplete (request, reply, payload, done) {
    if (closing.signal.aborted) letConnectionGo(request, reply)
    const state = request[kIdempotency]
    // Undefined: a request of a child context that was there before the plugin, and has no decorations.
    if (state == null || state === ANSWERED) return done(null, payload)
    if (!(state instanceof Run)) return done(null, restore(state, reply, payload))
    if (state.stage === 'settled') return done(null, payload)
    // A promise, not `done`: what Fastify throws while it sends is then its own to handle.
    return settle(engine, state, reply, payload)
  })

  /** Fastify gives hooks of the app's start and end `pluginTimeout`, and no more. */
  function ofPluginTimeout (milliseconds: number): number {
    const { pluginTimeout = 0 } = app.initialConfig
    return pluginTimeout === 0 ? milliseconds : Math.min(milliseconds, pluginTimeout * 0.8)
  }

  // Before the server closes and the app's databases do.
  let closeBegan = 0
  let listens = false
  app.addHook('onListen', function noteListening (done) {
    listens = true
    done()
  })
  app.addHook('preClose', async function endWhatOwnsKeys () {
    closing.abort()
    closeBegan = performance.now()
    // Fastify does so after this hook only. Meanwhile it would answer 503 to all who connect, whom a load balancer, or
    // the primary of node:cluster, sends to another process once this one is not listening. What comes over connections
    // that are open is answered 503. Fastify's own call waits for the connections all the same.
    // A server of the app's own (`serverFactory`) that Fastify did not make listen is not Fastify's to close.
    if (listens) app.server.close()
    await leases.untilIdle(ofPluginTimeout(settings.closeTimeout))
  })

  // What is registered before the plugin is closed after it.
  app.addHook('onClose', async function letGo () {
    for (const owner of await leases.untilIdle(closeBegan + settings.closeTimeout - performance.now())) {
      if (!owner.ended) owner.log.error('idempotency: the app closes while this run still owns its key: once its lease is over a retry may run, with a higher attempt')
    }
    purger.close()
    stopListening?.()
    await pending.close()
    leases.close()
    deadline.close()
    ownStore?.close()
  })
}

function redisStore ({ redis, keyPrefix, recordVersion, storeTimeout }: PluginSettings): RedisStore {
  return new RedisStore(redis as RedisClient, { keyPrefix, recordVersion, connectTimeout: storeTimeout })
}
