import { isSchema, nameIn } from './json-schema.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ProtectedRoute } from './protected-route.ts'

/**
 * 1 to 255 visible ASCII characters, bare or as an RFC 9651 String. The plugin accepts every value that matches, but
 * also some others: here the quotes count as characters, and parameters after the string, which the plugin ignores, do
 * not match.
 */
const DEFAULT_FORMAT = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  pattern: '^([!#-~]+|"([!#-\\[\\]-~]|\\\\["\\\\])+")$'
}

/**
 * Adds the header that carries the key to a route's header schema. If the route describes this header itself, its
 * description stays, but a key that is required becomes a required header.
 */
export function withKeyHeader (own: unknown, route: ProtectedRoute): unknown {
  const { settings: { header, key, required }, hasOtherMethods } = route
  if (key !== undefined) return own
  const isRequired = required && !hasOtherMethods
  if (own === undefined) return headers(header, keySchema(route), isRequired)
  if (!isSchema(own) || !isSchema(own.properties)) {
    // This is a reference or a combination. If both schemas describe the header, the last one counts.
    return { allOf: [headers(header, keySchema(route), isRequired), own] }
  }
  const documented = nameIn(own.properties, header)
  const requires = Array.isArray(own.required) ? own.required as unknown[] : []
  const name = documented ?? header
  return {
    ...own,
    properties: documented === undefined ? { ...own.properties, [header]: keySchema(route) } : own.properties,
    required: isRequired && !requires.includes(name) ? [...requires, name] : requires
  }
}

function headers (name: string, schema: JsonSchema, isRequired: boolean): JsonSchema {
  return { type: 'object', properties: { [name]: schema }, required: isRequired ? [name] : [] }
}

/**
 * The schema has no example: Swagger UI would send the example with every request, and only the first of these requests
 * would be carried out.
 */
function keySchema ({ settings, methods, hasOtherMethods, hasDefaultKeyFormat }: ProtectedRoute): JsonSchema {
  const forms = 'bare or as a quoted string (RFC 9651).'
  const sentences = [
    ...(hasOtherMethods ? [`For ${[...methods].join(', ')}.`] : []),
    'A value that is unique to the operation, such as a UUID, and the same one with every retry:',
    hasDefaultKeyFormat ? `1 to 255 visible ASCII characters, ${forms}` : forms,
    ...(settings.required ? [] : ['Without it nothing keeps a retry from being carried out again.'])
  ]
  const format = hasDefaultKeyFormat ? DEFAULT_FORMAT : { type: 'string', minLength: 1 }
  return { ...format, description: sentences.join(' ') }
}
