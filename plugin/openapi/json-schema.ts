/** A JSON schema, or what Fastify and @fastify/swagger take in place of one. */
export type JsonSchema = Record<string, unknown>

export function isSchema (value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The name under which an object has something, whatever its case: that of headers and `4xx` does not matter. */
export function nameIn (object: JsonSchema, name: string): string | undefined {
  return Object.keys(object).find(own => own.toLowerCase() === name.toLowerCase())
}

/** Headers with others added to them, where they do not have them already. */
export function withHeaders (own: unknown, added: Record<string, JsonSchema>): JsonSchema {
  const headers = isSchema(own) ? own : {}
  return { ...headers, ...Object.fromEntries(Object.entries(added).filter(([name]) => nameIn(headers, name) === undefined)) }
}

/**
 * A schema as OpenAPI 3.0 knows them: one `example`, no `examples`. @fastify/swagger does this itself, but not for
 * schemas that stand under a media type.
 */
export function withoutExamples (schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutExamples)
  if (!isSchema(schema)) return schema
  return Object.fromEntries(Object.entries(schema).map(([name, value]) =>
    name === 'examples' && Array.isArray(value) ? ['example', value[0]] : [name, withoutExamples(value)]))
}
