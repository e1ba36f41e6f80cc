import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { checkRouteOptions } from './options.ts'
import type { PluginSettings, RouteSettings } from './options.ts'

/**
 * In a route's config: the plugin's `onRoute` hook has seen it, and protects it if it is to be. Of the global registry,
 * since an app may load the plugin by `import` and the OpenAPI transform by `require`.
 */
export const kSeen = Symbol.for('fastify-idempotency.seen')

/** What the plugin makes of a route that it has seen. */
export interface SeenRoute {
  /** How it is protected; `null` if it is not. */
  protection: RouteSettings | null
  /** The settings of the plugin that has seen it. */
  readonly plugin: PluginSettings
  /** The route itself: a copy has the same config, and none of the hooks. */
  readonly route: RouteOptions
}

declare module 'fastify' {
  interface FastifyContextConfig {
    [kSeen]?: SeenRoute
  }
}

/** To be called in an `onRoute` hook. */
export function markSeen (seen: SeenRoute): void {
  const { route } = seen
  let config: RouteOptions['config'] = { ...route.config, [kSeen]: seen }
  Object.defineProperty(route, 'config', {
    configurable: true,
    enumerable: true,
    get: () => config,
    // Hooks of other plugins, which come later, may put another config in its place.
    set: (other: RouteOptions['config']) => { config = { ...other, [kSeen]: seen } }
  })
}

/** What a plugin made of a route that it has seen. */
export function seenOf (route: RouteOptions): SeenRoute | undefined {
  const seen = route.config?.[kSeen]
  return seen?.route === route ? seen : undefined
}

/** What is set for all of Fastify's "one or several" options: hooks, methods. */
export function listOf<T> (value: T | T[] | undefined): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

/**
 * How a route is protected; `null` if it is not.
 * @throws {IdempotencyOptionError} if its `config.idempotency` is not what it should be.
 */
export function protectionOf (route: RouteOptions, plugin: PluginSettings): RouteSettings | null {
  const wanted: unknown = route.config?.idempotency === undefined ? plugin.global : route.config.idempotency
  if (wanted === false || protectedMethods(route, plugin).size === 0) return null
  return checkRouteOptions(`route ${listOf(route.method).join(',')} ${route.url}`, wanted, plugin)
}

/**
 * The methods of a route whose requests claim a key: all that it names if it asks for protection itself, those that
 * `global` means if it does not. Never HEAD: Fastify adds such a sibling to each GET route, with the same config.
 */
export function protectedMethods (route: RouteOptions, plugin: Pick<PluginSettings, 'global'>): Set<string> {
  const asked = route.config?.idempotency !== undefined
  return new Set(listOf(route.method).filter(method => asked ? method !== 'HEAD' : plugin.global && isUnsafe(method)))
}

/** Whether any route has been declared yet, in whatever context of the app. */
export function hasRoutes (app: FastifyInstance): boolean {
  return app.printRoutes() !== '(empty tree)'
}

/** Declared before the plugin was loaded, although it asks for protection: it would run unprotected in silence. */
export function isUnseen (request: FastifyRequest, plugin: Pick<PluginSettings, 'global'>): boolean {
  const config = request.routeOptions.config
  if (config === undefined || config[kSeen] !== undefined || request.is404 || request.method === 'HEAD') return false
  return config.idempotency === undefined ? plugin.global && isUnsafe(request.method) : config.idempotency !== false
}

/** The methods that `global` protects: those that RFC 9110 does not call idempotent. */
function isUnsafe (method: string): boolean {
  return method === 'POST' || method === 'PATCH'
}
