import { subscribe } from 'node:diagnostics_channel'
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
}

/** As many are named; the rest is counted. */
const MOST_NAMED = 10

/** By root instance. */
const apps = new WeakMap<FastifyInstance, Watched>()

/*
 * The plugin's own onRoute hook sees the routes that are declared after it, in its context. Those that it does not see
 * can only be told from the root instance, from the moment at which that is made.
 */
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  watch(fastify, [fastify])
})

function watch (root: FastifyInstance, contexts: FastifyInstance[]): Watched {
  const watched: Watched = { routes: [], plugins: [] }
  apps.set(root, watched)
  for (const context of contexts) {
    context.addHook('onRoute', function noteRoute (route) {
      watched.routes.push({ route, context: this })
    })
  }
  root.addHook('onReady', async function refuseUnprotectedRoutes () {
    const routes = watched.routes.splice(0)
    refuseUnprotected(routes, watched.plugins)
  })
  return watched
}

/**
 * To be called where the plugin is registered: a route of the app that asks for protection and does not get it keeps
 * the app from being ready.
 * @returns the root instance, and whether all routes of the app are known. They are not if the package was imported
 *   after the app had been made: those that were declared until now are missing.
 */
export function watchRoutes (context: FastifyInstance, settings: PluginSettings): { root: FastifyInstance, allKnown: boolean } {
  const contexts = contextsAbove(context)
  const root = contexts.at(-1) as FastifyInstance
  const known = apps.get(root)
  const { plugins } = known ?? watch(root, contexts)
  plugins.push({ settings, context })
  return { root, allKnown: known !== undefined }
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

/** @throws {IdempotencyError} that names the routes, and says why and what to do */
function refuseUnprotected (routes: Declared[], plugins: Registered[]): void {
  const early: RouteOptions[] = []
  const outside: RouteOptions[] = []
  // One that is to protect whatever is in its context, where nothing is.
  const protectsNothing = plugins.some(({ settings }) => settings.global && !routes.some(({ route }) => seenOf(route)?.plugin === settings))
  for (const { route, context } of routes) {
    if (seenOf(route) !== undefined || route.config?.idempotency === false) continue
    const plugin = plugins.find(plugin => liesIn(context, plugin.context))
    const global = plugin === undefined ? protectsNothing : plugin.settings.global
    if (protectedMethods(route, { global }).size > 0) (plugin === undefined ? outside : early).push(route)
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
  if (reasons.length > 0) throw new IdempotencyError('FST_IDEMPOTENCY_ROUTE_UNSEEN', `fastify-idempotency: ${reasons.join('. ')}`)
}

function named (routes: RouteOptions[]): string {
  const names = routes.slice(0, MOST_NAMED).map(({ method, url }) => `${listOf(method).join(',')} ${url}`)
  const more = routes.length > MOST_NAMED ? ` and ${routes.length - MOST_NAMED} more` : ''
  return routes.length === 1
    ? `the route ${names.join('')} is to be protected, and would run unprotected: it is`
    : `the routes ${names.join(', ')}${more} are to be protected, and would run unprotected: they are`
}
