import diagnostics from 'node:diagnostics_channel'
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { IdempotencyError } from './errors.ts'
import type { PluginSettings } from './options.ts'
import { routesUnprotected } from './refusals.ts'
import { listOf, protectedMethods, seenOf } from './routes.ts'

/** A route, and the context that it was declared in. */
interface Declared {
  route: RouteOptions
  context: FastifyInstance
}

interface Registered {
  settings: PluginSettings
  context: FastifyInstance
}

/** What is known of an app while it is not ready yet. */
interface Watched {
  routes: Declared[]
  plugins: Registered[]
  /** Whether its routes are all known: it was made after the package had been imported. */
  fromStart: boolean
  /** The routes that kept the app from being ready. */
  unprotected: Set<RouteOptions>
  /**
   * Why unprotected requests are refused; `null` once every route is safe. Fastify serves an app
   * whose `ready()` has rejected: by `inject`, as @fastify/aws-lambda does it in a process that is used again.
   */
  refusal: Error | null
}

/** The number changes with `Watched`: another version of the package in the same process finds the same symbol. */
const kApps = Symbol.for('fastify-idempotency.apps.1')

/** The message names so many routes, and counts the others. */
const MOST_NAMED = 10

/** Fastify publishes each root instance on this channel when it is made. */
const initialization: diagnostics.Channel & { [kApps]?: WeakMap<FastifyInstance, Watched> } =
  diagnostics.channel('fastify.initialization')

/*
 * The plugin's own onRoute hook sees the routes that are declared after it, in its context. To see the other routes
 * too, a hook has to be on the root instance from the moment at which that is made. All copies of the package that a
 * process loads (by `import` and by `require`, or in the module registries of Jest) share what the first copy collects.
 */
if (initialization[kApps] === undefined) {
  initialization[kApps] = new WeakMap()
  diagnostics.subscribe(initialization.name, (message) => {
    const { fastify } = message as { fastify: FastifyInstance }
    watch(fastify, [fastify], true)
  })
}
/** By root instance. */
const apps = initialization[kApps]

function watch (root: FastifyInstance, contexts: FastifyInstance[], fromStart: boolean): Watched {
  const notReady = new Error('fastify-idempotency: the app did not become ready ("ready()" rejected), ' +
    'so this request would run unprotected')
  const refusal = Object.assign(notReady, { statusCode: 503 })
  const watched: Watched = { routes: [], plugins: [], fromStart, unprotected: new Set(), refusal }
  apps.set(root, watched)
  for (const context of contexts) {
    context.addHook('onRoute', function noteRoute (route) {
      if (isDuplicate(route, this)) return
      watched.routes.push({ route, context: this })
      // Later, when the plugin has seen the route, if it is there.
      this.after(() => { refuseWhileUnprotected(route, watched) })
    })
  }
  root.addHook('onReady', async function refuseUnprotectedRoutes () {
    const routes = watched.routes.splice(0)
    watched.refusal = refusalOf(routes, watched)
    if (watched.refusal !== null) throw watched.refusal
  })
  return watched
}

/**
 * Fastify will refuse the route, and the app may catch that. A route that has a further method is declared all the
 * same.
 */
function isDuplicate ({ url, constraints = {}, ...route }: RouteOptions, context: FastifyInstance): boolean {
  return listOf(route.method).every(method => context.hasRoute({ method, url, constraints }))
}

/** Guards a route that is not protected and may have to be: a plugin with `global` may still be registered. */
function refuseWhileUnprotected (route: RouteOptions, watched: Watched): void {
  if (seenOf(route) !== undefined || route.config?.idempotency === false) return
  const methods = protectedMethods(route, { global: true })
  if (methods.size === 0) return
  const asks = route.config?.idempotency !== undefined
  route.onRequest = [function refuseUnprotected (request, _reply, done) {
    const runsUnprotected = methods.has(request.method) && (asks || watched.unprotected.has(route))
    done(runsUnprotected && watched.refusal !== null ? watched.refusal : undefined)
  }, ...listOf(route.onRequest)]
}

/**
 * Called where the plugin is registered. From then on a route of the app that asks for protection and does not get it
 * keeps the app from being ready.
 * @returns the root instance, and what is known of its routes
 */
export function watchRoutes (
  context: FastifyInstance, settings: PluginSettings
): { root: FastifyInstance, watched: Watched } {
  const contexts = contextsAbove(context)
  const root = contexts.at(-1) as FastifyInstance
  const watched = apps.get(root) ?? watch(root, contexts, false)
  watched.plugins.push({ settings, context })
  return { root, watched }
}

/** Whether a registration in `outer` also applies in `context`. */
export function liesIn (context: FastifyInstance, outer: FastifyInstance): boolean {
  return contextsAbove(context).includes(outer)
}

/** A context and the contexts around it, up to the root instance. Each outer one is the prototype of the inner one. */
function contextsAbove (context: FastifyInstance): FastifyInstance[] {
  const contexts: FastifyInstance[] = []
  let next = context
  while (typeof next?.addHook === 'function') {
    contexts.push(next)
    next = Object.getPrototypeOf(next) as FastifyInstance
  }
  return contexts
}

/**
 * An error that names the routes, the reason and the remedy; `null` if every route that is to be protected is
 * protected.
 */
function refusalOf (routes: Declared[], { plugins, unprotected }: Watched): IdempotencyError | null {
  const early: RouteOptions[] = []
  const outside: RouteOptions[] = []
  // A plugin with `global` protects every route of its context. Here no plugin has any route in its context.
  const sawNoRoute = !routes.some(({ route }) => seenOf(route) !== undefined)
  const protectsNothing = sawNoRoute && plugins.some(({ settings }) => settings.global)
  for (const { route, context } of routes) {
    if (seenOf(route) !== undefined || route.config?.idempotency === false) continue
    const plugin = plugins.find(plugin => liesIn(context, plugin.context))
    const global = plugin === undefined ? protectsNothing : plugin.settings.global
    if (protectedMethods(route, { global }).size === 0) continue
    unprotected.add(route)
    if (plugin === undefined) outside.push(route)
    else early.push(route)
  }
  const reasons: string[] = []
  if (early.length > 0) {
    reasons.push(`${named(early)} declared before the plugin was loaded. ` +
      'Register the plugin before the routes: "await app.register(idempotency, …)" first, ' +
      'or declare them in a plugin that is registered later')
  }
  if (outside.length > 0 && plugins.length > 0) {
    reasons.push(`${named(outside)} declared outside of the context that the plugin was registered in. ` +
      'Wrap your own plugin that registers it by fastify-plugin, so that it counts for the app, ' +
      'or register it in the app itself')
  }
  if (outside.length > 0 && plugins.length === 0) {
    reasons.push(`${named(outside)} declared in an app that has no such plugin. ` +
      'Register it before the routes: "await app.register(idempotency, …)"')
  }
  return reasons.length === 0 ? null : routesUnprotected(reasons)
}

function named (routes: RouteOptions[]): string {
  const names = routes.slice(0, MOST_NAMED).map(({ method, url }) => `${listOf(method).join(',')} ${url}`)
  const more = routes.length > MOST_NAMED ? ` and ${routes.length - MOST_NAMED} more` : ''
  return routes.length === 1
    ? `the route ${names.join('')} is to be protected, and would run unprotected: it is`
    : `the routes ${names.join(', ')}${more} are to be protected, and would run unprotected: they are`
}
