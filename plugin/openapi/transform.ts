import type { SwaggerTransform } from '@fastify/swagger'
import { isThenable, kindOf } from '../shared/values.ts'
import { listOf } from '../routes.ts'
import { withKeyHeader } from './key-header.ts'
import { protectedRoute } from './protected-route.ts'
import { withRefusals } from './responses.ts'

/**
 * A `transform` for `@fastify/swagger` that describes what this plugin makes of protected routes: the header with the
 * key, the refusals, and the header that tells a replay. Other routes, and Swagger 2.0 documents (which cannot tell
 * the media types of a response apart), are left as they are. Schemas are copied where something is added, so
 * validation and serialization do not see any of it.
 *
 * ```ts
 * await app.register(swagger, { openapi: { info }, transform: idempotencyTransform() })
 * ```
 * @param own the app's own transform, which runs first, and is not asynchronous. A route's `config.swaggerTransform` replaces this one, unless
 *   it is wrapped in the same way
 */
export function idempotencyTransform (own: SwaggerTransform = asItIs): SwaggerTransform {
  return (input) => {
    const result = checked(own(input), input)
    const route = protectedRoute(input.route)
    if (route === null || !('openapiObject' in input)) return result
    // What @fastify/swagger does with a transform that returns no schema.
    const schema = result.schema ?? input.schema ?? {}
    return {
      ...result,
      schema: {
        ...schema,
        headers: withKeyHeader(schema.headers, route),
        response: withRefusals(schema, route, input.openapiObject.openapi)
      }
    }
  }
}

type Result = ReturnType<SwaggerTransform>

/** @fastify/swagger waits for no promise, and would describe what the app's transform was to hide. */
function checked (result: Result | null | undefined, { route }: Parameters<SwaggerTransform>[0]): Result {
  if (typeof result === 'object' && result !== null && !isThenable(result)) return result
  const where = `${listOf(route.method).join(',')} ${route.url}`
  const got = isThenable(result) ? 'a promise' : kindOf(result)
  const expected = 'must return { schema, url }'
  throw new TypeError(`fastify-idempotency/openapi: the app's own transform for ${where} ${expected}, got ${got}`)
}

const asItIs: SwaggerTransform = ({ schema, url }) => ({ schema, url })
