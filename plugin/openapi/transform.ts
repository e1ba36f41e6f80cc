import type { SwaggerTransform } from '@fastify/swagger'
import { isThenable, kindOf } from '../shared/values.ts'
import { listOf } from '../routes.ts'
import { withKeyHeader } from './key-header.ts'
import { protectedRoute } from './protected-route.ts'
import { withRefusals } from './responses.ts'

/**
 * A `transform` for `@fastify/swagger` that describes what this plugin adds to protected routes: the header with the
 * key, the refusals, and the header that marks a replay. It leaves other routes as they are, and also Swagger 2.0
 * documents, which cannot describe a response for each media type. It copies the schemas that it adds something to, so
 * that validation and serialization are not affected.
 *
 * ```ts
 * await app.register(swagger, { openapi: { info }, transform: idempotencyTransform() })
 * ```
 * @param own the app's own transform, which runs first and must not be asynchronous. A route's
 *   `config.swaggerTransform` replaces this transform, unless you wrap it with `idempotencyTransform` too
 */
export function idempotencyTransform (own: SwaggerTransform = asItIs): SwaggerTransform {
  return (input) => {
    const result = checked(own(input), input)
    const route = protectedRoute(input.route)
    if (route === null || !('openapiObject' in input)) return result
    // This is what @fastify/swagger does if a transform returns no schema.
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

/**
 * @fastify/swagger does not wait for a promise. If the app's transform returned one, the document would show what the
 * transform was meant to hide.
 */
function checked (result: Result | null | undefined, { route }: Parameters<SwaggerTransform>[0]): Result {
  if (typeof result === 'object' && result !== null && !isThenable(result)) return result
  const where = `${listOf(route.method).join(',')} ${route.url}`
  const got = isThenable(result) ? 'a promise' : kindOf(result)
  const expected = 'must return { schema, url }'
  throw new TypeError(`fastify-idempotency/openapi: the app's own transform for ${where} ${expected}, got ${got}`)
}

const asItIs: SwaggerTransform = ({ schema, url }) => ({ schema, url })
