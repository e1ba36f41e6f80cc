import type { RouteOptions } from 'fastify'
import type { PluginSettings, RouteSettings } from '../options.ts'
import { isVisibleAscii } from '../shared/key-grammar.ts'
import { listOf, protectedMethods, seenOf } from '../routes.ts'

/** The protection of a route, as far as clients notice it. */
export interface ProtectedRoute {
  settings: RouteSettings
  /** Whether the plugin or the app's error handler writes the refusals. */
  errors: PluginSettings['errors']
  /** The methods whose requests claim a key. */
  methods: Set<string>
  /**
   * Whether the route also has methods whose requests claim no key. @fastify/swagger describes all methods of a route
   * by one schema.
   */
  hasOtherMethods: boolean
  /**
   * Whether the plugin checks keys by its default, and not by a `validateKey` of the app, whose format is not known.
   */
  hasDefaultKeyFormat: boolean
}

/** `null` if the route is not protected, or if it was declared before the plugin was registered. */
export function protectedRoute (route: RouteOptions): ProtectedRoute | null {
  const seen = seenOf(route)
  if (seen === undefined || seen.protection === null) return null
  const methods = protectedMethods(route, seen.plugin)
  return {
    settings: seen.protection,
    errors: seen.plugin.errors,
    methods,
    hasOtherMethods: listOf(route.method).some(method => !methods.has(method)),
    hasDefaultKeyFormat: seen.protection.validateKey === isVisibleAscii
  }
}
