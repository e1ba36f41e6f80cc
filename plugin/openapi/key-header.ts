import { isSchema, nameIn } from './json-schema.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ProtectedRoute } from './protected-route.ts'

/**
 * 1 to 255 visible ASCII characters, bare or as an RFC 9651 String. Whatever fits is taken. Not the other way round:
 * quotes count here, and parameters after the string, which are ignored, have no place.
 */
const DEFAULT_FORMAT = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  pattern: '^([!#-~]+|"([!#-\\[\\]-~]|\\\\["\\\\])+")$'
}

/**
 * A route's header schema with the header that carries the key. What the route says of that header itself stays, but
 * a key that is required is required.
 */
export function withKeyHeader (own: unknown, route: ProtectedRoute): unknown {
  const { settings: { header, key, required }, hasOtherMethods } = route
  if (key !== undefined) return own
  const isRequired = required && !hasOtherMethods
  if (own === undefined) return headers(header, keySchema(route), isRequired)
  if (!isSchema(own) || !isSchema(own.properties)) {
    // A reference or a combination. What comes last counts, if both have the header.
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

/** Without an example: Swagger UI would send it with every request, and only the first of them would be carried out. */
function keySchema ({ settings, methods, hasOtherMethods, hasDefaultKeyFormat }: ProtectedRoute): JsonSchema {
  const sentences = [
    ...(hasOtherMethods ? [`For ${[...methods].join(', ')}.`] : []),
    'A value that is unique to the operation, such as a UUID, and the same one with every retry:',
    hasDefaultKeyFormat ? '1 to 255 visible ASCII characters, bare or as a quoted string (RFC 9651).' : 'bare or as a quoted string (RFC 9651).',
    ...(settings.required ? [] : ['Without it nothing keeps a retry from being carried out again.'])
  ]
  return { ...(hasDefaultKeyFormat ? DEFAULT_FORMAT : { type: 'string', minLength: 1 }), description: sentences.join(' ') }
}
