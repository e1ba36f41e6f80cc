import diagnostics from 'node:diagnostics_channel'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { IdempotencyError } from './errors.ts'
import type { PluginSettings } from './options.ts'
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

/** What is known of an app until it is ready. */
interface Watched {
  routes: Declared[]
  plugins: Registered[]
  /** Whether its routes are all known: it was made after the package had been imported. */
  fromStart: boolean
  /** The routes that kept the app from being ready. */
  unprotected: Set<RouteOptions>
  /**
   * Why requests that would run unprotected are refused; `null` once no route is left that would. Fastify serves an app
   * whose `ready()` has rejected: by `inject`, as @fastify/aws-lambda does it in a process that is used again.
   */
  refusal: Error | null
}

/** To be changed with `Watched`, which other versions of the package would find here. */
const kApps = Symbol.for('fastify-idempotency.apps.1')

/** As many are named; the rest is counted. */
const MOST_NAMED = 10

/** Fastify publishes each root instance there as it is made. */
const initialization: { [kApps]?: WeakMap<FastifyInstance, Watched> } & diagnostics.Channel = diagnostics.channel('fastify.initialization')

/*
 * The plugin's own onRoute hook sees the routes that are declared after it, in its context. Those that it does not see
 * can only be told from the root instance, from the moment at which that is made. All copies of the package that a
 * process loads (`import` and `require`, the module registries of Jest) share what the first one is told.
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
  const notReady = new Error('fastify-idempotency: the app did not become ready ("ready()" rejected), so this request would run unprotected')
  const watched: Watched = { routes: [], plugins: [], fromStart, unprotected: new Set(), refusal: Object.assign(notReady, { statusCode: 503 }) }
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

/** Fastify will refuse it, which the app may take. One that has a method of its own is declared all the same. */
function isDuplicate ({ url, constraints = {}, ...route }: RouteOptions, context: FastifyInstance): boolean {
  return listOf(route.method).every(method => context.hasRoute({ method, url, constraints }))
}

/** For a route that is not protected, and may have to be: a plugin with `global` may still come. */
function refuseWhileUnprotected (route: RouteOptions, watched: Watched): void {
  if (seenOf(route) !== undefined || route.config?.idempotency === false) return
  const methods = protectedMethods(route, { global: true })
  if (methods.size === 0) return
  const asks = route.config?.idempotency !== undefined
  route.onRequest = [function refuseUnprotected (request, _reply, done) {
    const isRefused = watched.refusal !== null && methods.has(request.method) && (asks || watched.unprotected.has(route))
    done(isRefused ? watched.refusal as Error : undefined)
  }, ...listOf(route.onRequest)]
}

/**
 * To be called where the plugin is registered: a route of the app that asks for protection and does not get it keeps
 * the app from being ready.
 * @returns the root instance, and what is known of its routes
 */
export function watchRoutes (context: FastifyInstance, settings: PluginSettings): { root: FastifyInstance, watched: Watched } {
  const contexts = contextsAbove(context)
  const root = contexts.at(-1) as FastifyInstance
  const watched = apps.get(root) ?? watch(root, contexts, false)
  watched.plugins.push({ settings, context })
  return { root, watched }
}

/** Whether what is registered in `outer` counts in `context`. */
export function liesIn (context: FastifyInstance, outer: FastifyInstance): boolean {
  return contextsAbove(context).includes(outer)
}

/** A context and those that it lies in, up to the root instance: each is the prototype of the next. */
function contextsAbove (context: FastifyInstance): FastifyInstance[] {
  const contexts: FastifyInstance[] = []
  for (let next = context; typeof next?.addHook === 'function'; next = Object.getPrototypeOf(next) as FastifyInstance) contexts.push(next)
  return contexts
}

/** An error that names the routes, and says why and what to do; `null` if all that are to be protected are. */
function refusalOf (routes: Declared[], { plugins, unprotected }: Watched): IdempotencyError | null {
  const early: RouteOptions[] = []
  const outside: RouteOptions[] = []
  // It is to protect whatever is in its context, and nothing is in any.
  const protectsNothing = plugins.some(({ settings }) => settings.global) && !routes.some(({ route }) => seenOf(route) !== undefined)
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
    reasons.push(`${named(early)} declared before the plugin was loaded. Register the plugin before the routes: "await app.register(idempotency, …)" first, or declare them in a plugin that is registered later`)
  }
  if (outside.length > 0 && plugins.length > 0) {
    reasons.push(`${named(outside)} declared outside of the context that the plugin was registered in. Wrap your own plugin that registers it by fastify-plugin, so that it counts for the app, or register it in the app itself`)
  }
  if (outside.length > 0 && plugins.length === 0) {
    reasons.push(`${named(outside)} declared in an app that has no such plugin. Register it before the routes: "await app.register(idempotency, …)"`)
  }
  return reasons.length === 0 ? null : new IdempotencyError('FST_IDEMPOTENCY_ROUTE_UNSEEN', `fastify-idempotency: ${reasons.join('. ')}`)
}

function named (routes: RouteOptions[]): string {
  const names = routes.slice(0, MOST_NAMED).map(({ method, url }) => `${listOf(method).join(',')} ${url}`)
  const more = routes.length > MOST_NAMED ? ` and ${routes.length - MOST_NAMED} more` : ''
  return routes.length === 1
    ? `the route ${names.join('')} is to be protected, and would run unprotected: it is`
    : `the routes ${names.join(', ')}${more} are to be protected, and would run unprotected: they are`
}
