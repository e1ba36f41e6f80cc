import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { operatorOf } from './app/operator.ts'
import { startEngine } from './start.ts'
import { checkPluginOptions } from './options.ts'
import type { RouteSettings } from './options.ts'
import { routeUnseen } from './refusals.ts'
import { claim } from './request/claim.ts'
import { RequestContender } from './request/contender.ts'
import { closeConnection, endRun } from './request/end.ts'
import { fingerprinterOf } from './request/fingerprint.ts'
import type { Fingerprinter } from './request/fingerprint.ts'
import { noteJournalled } from './request/note-journalled.ts'
import { noteError } from './request/on-error.ts'
import { separateReplies } from './request/replies.ts'
import { restore } from './request/replay.ts'
import { Run } from './request/run.ts'
import { ANSWERED, kIdempotency } from './request/state.ts'
import { kFingerprint, takeFingerprint } from './request/take-fingerprint.ts'
import { hasRoutes, isUnseen, listOf, markSeen, protectedMethods, protectionOf } from './routes.ts'
import type { SeenRoute } from './routes.ts'
import type { IdempotencyOptions } from './types.ts'
import { liesIn, watchRoutes } from './unprotected.ts'

/** The wiring: every hook, in the order in which they run. What they do is in `request/`, one step a file. */
export async function plugin (app: FastifyInstance, options: IdempotencyOptions): Promise<void> {
  if (app.hasDecorator('idempotency')) {
    throw new Error('fastify-idempotency is registered already, here or in a parent context: ' +
      'register it once, and set what differs in the routes\' config.idempotency')
  }
  const settings = checkPluginOptions(options)
  const { engine, journals, checkServers, stop } = startEngine(app, settings)

  app.decorate('idempotency', operatorOf(engine))
  app.decorateRequest('idempotency', null)
  app.decorateRequest(kIdempotency, null)
  app.decorateRequest(kFingerprint, null)
  separateReplies(app)

  // 1. Routes are declared: those that are to be protected get their hooks.

  const wrongRoutes: unknown[] = []

  app.addHook('onRoute', function protect (route) {
    const seen: SeenRoute = { protection: null, plugin: settings, route }
    markSeen(seen)
    // Later, when the onRoute hooks of other plugins have added theirs to the route.
    this.after(() => {
      try {
        addHooks(route, seen)
      } catch (error) {
        wrongRoutes.push(error)
        route.onRequest = function refuseWrongRoute (_request, _reply, done) { done(error as Error) }
      }
    })
  })

  function addHooks (route: RouteOptions, seen: SeenRoute): void {
    const protection = seen.protection = protectionOf(route, settings)
    if (protection === null) return
    engine.leases.cover(protection.lease)
    warnOfShortWaits(protection)
    const fingerprintOf = fingerprinterOf(route, protection)
    // Replaced, never pushed to: routes may share an array of hooks, as a GET and its HEAD sibling do.
    route.preValidation = [takeFingerprintOf(route, protection, fingerprintOf), ...listOf(route.preValidation)]
    route.preHandler = [...listOf(route.preHandler), claimKeyOf(route, protection, fingerprintOf)]
    if (protection.journal !== false) {
      journals.cover(protection.journal)
      route.preSerialization = [function noteWhatWasJournalled (request, reply, payload, done) {
        noteJournalled(request, reply, payload)
        done(null, payload)
      }, ...listOf(route.preSerialization)]
    }
    route.onError = [...listOf(route.onError), function noteErrorOfRun (request, reply, error, done) {
      noteError(request, reply, error)
      done()
    }]
  }

  // What was warned of already: routes share settings.
  const warned = new Set<string>()

  function warnOfShortWaits ({ onConflict, waitTimeout, lease }: RouteSettings): void {
    const times = `"waitTimeout" (${waitTimeout} ms) is not above "lease" (${lease} ms)`
    if (onConflict !== 'wait' || waitTimeout > lease || warned.has(times)) return
    warned.add(times)
    app.log.warn(`idempotency: option ${times}: ` +
      'when a process dies in a handler, those who wait for its answer get a 409')
  }

  // 2. The app becomes ready, or does not.

  const { root, watched } = watchRoutes(app, settings)
  // While something keeps the app from being ready, it also keeps requests from running.
  let { refusal } = watched

  app.addHook('onReady', async function refuseWrongOptionsOrStart () {
    try {
      if (wrongRoutes.length > 0) throw wrongRoutes[0]
      await checkServers(ofPluginTimeout(settings.storeTimeout))
      refusal = null
    } catch (error) {
      refusal = error as Error
      throw error
    }
    journals.start()
  })

  // 3. A request comes: its key is claimed before the handler, and its answer is stored before it is sent.

  // Where no route was declared before the plugin, none can have been missed, and no request need be looked at.
  if (!watched.fromStart && hasRoutes(app)) {
    root.addHook('onRequest', function refuseUnseenRoute (request, _reply, done) {
      const isRefused = isUnseen(request, { global: settings.global && liesIn(this, app) })
      done(isRefused ? routeUnseen(`${request.method} ${request.routeOptions.url}`) : undefined)
    })
  }

  /** A route's first preValidation hook. */
  function takeFingerprintOf (route: RouteOptions, protection: RouteSettings, fingerprintOf: Fingerprinter) {
    const methods = protectedMethods(route, settings)
    return function noteFingerprint (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
      const taking = methods.has(request.method) ? takeFingerprint(fingerprintOf, protection, request) : undefined
      if (taking === undefined) done()
      else void taking.then(done)
    }
  }

  /**
   * A route's last preHandler hook. In callback style: where it has replied it never calls `done`, so no handler runs.
   */
  function claimKeyOf (route: RouteOptions, protection: RouteSettings, fingerprintOf: Fingerprinter) {
    const methods = protectedMethods(route, settings)
    return function claimKey (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
      if (!methods.has(request.method)) return done()
      const contender = new RequestContender(engine, protection, request, reply, done)
      if (refusal !== null) contender.refused(watched.refusal ?? refusal)
      else claim(contender, fingerprintOf)
    }
  }

  app.addHook('onSend', function storeOrRestore (request, reply, payload, done) {
    if (engine.closing.aborted) closeConnection(request, reply)
    const state = request[kIdempotency]
    // Undefined: a request of a child context that was there before the plugin, and has no decorations.
    if (state == null || state === ANSWERED) return done(null, payload)
    if (!(state instanceof Run)) return done(null, restore(state, reply, payload))
    if (state.stage === 'ended') return done(null, payload)
    return endRun(state, payload, done)
  })

  // 4. The app closes: what owns a key ends first, before the server closes and the app's databases do.

  let listens = false
  app.addHook('onListen', function noteListening (done) {
    listens = true
    done()
  })
  app.addHook('preClose', async function endWhatOwnsKeys () {
    stop.begin()
    // Fastify closes the server after this hook. Meanwhile it would answer 503 to everybody who connects. A load
    // balancer, or the primary of node:cluster, sends them to another process as soon as this one does not listen.
    // Requests of open connections are answered 503. Fastify's own call waits for the connections all the same. A
    // server of the app's own (`serverFactory`) that Fastify did not make listen is not Fastify's to close.
    if (listens) app.server.close()
    await stop.untilIdle(ofPluginTimeout(settings.closeTimeout))
  })
  // What is registered before the plugin is closed after it.
  app.addHook('onClose', stop.end)

  /** Fastify gives hooks of the app's start and end `pluginTimeout`, and no more. */
  function ofPluginTimeout (milliseconds: number): number {
    const { pluginTimeout = 0 } = app.initialConfig
    return pluginTimeout === 0 ? milliseconds : Math.min(milliseconds, pluginTimeout * 0.8)
  }
}
