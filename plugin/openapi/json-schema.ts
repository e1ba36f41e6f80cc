/** A JSON schema, or what Fastify and @fastify/swagger accept in place of one. */
export type JsonSchema = Record<string, unknown>

export function isSchema (value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The property of an object with this name, whatever its case: case does not matter in header names and in `4xx`. */
export function nameIn (object: JsonSchema, name: string): string | undefined {
  return Object.keys(object).find(own => own.toLowerCase() === name.toLowerCase())
}

/** Adds headers to others that do not contain them already. */
export function withHeaders (own: unknown, added: Record<string, JsonSchema>): JsonSchema {
  const headers = isSchema(own) ? own : {}
  const missing = Object.entries(added).filter(([name]) => nameIn(headers, name) === undefined)
  return { ...headers, ...Object.fromEntries(missing) }
}

/**
 * Converts a schema for OpenAPI 3.0, which has one `example` and no `examples`. @fastify/swagger does this itself, but
 * not for the schema of a media type.
 */
export function withoutExamples (schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutExamples)
  if (!isSchema(schema)) return schema
  return Object.fromEntries(Object.entries(schema).map(([name, value]) =>
    name === 'examples' && Array.isArray(value) ? ['example', value[0]] : [name, withoutExamples(value)]))
}
