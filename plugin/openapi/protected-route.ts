import type { RouteOptions } from 'fastify'
import type { PluginSettings, RouteSettings } from '../options.ts'
import { isVisibleAscii } from '../shared/key-grammar.ts'
import { listOf, protectedMethods, seenOf } from '../routes.ts'

/** How a route is protected, as far as its clients see it. */
export interface ProtectedRoute {
  settings: RouteSettings
  /** Who words the refusals. */
  errors: PluginSettings['errors']
  /** The methods that claim a key. */
  methods: Set<string>
  /** It has other methods too, which claim none: @fastify/swagger describes all methods of a route by one schema. */
  hasOtherMethods: boolean
  /** Keys are checked as the plugin does it on its own, not by a `validateKey` whose format is known to the app only. */
  hasDefaultKeyFormat: boolean
}

/** `null` if the route is not protected, or not seen by the plugin. */
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
