import type { FastifySchema } from 'fastify'
import type { RouteSettings } from '../options.ts'
import { isSchema, nameIn, withHeaders, withoutExamples } from './json-schema.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ProtectedRoute } from './protected-route.ts'
import { refusalsOf } from './refusals.ts'
import type { Refusal } from './refusals.ts'

type Replayable = RouteSettings['replayable']

const PROBLEM = 'application/problem+json'

/** What @fastify/swagger says of a route that does not describe its responses. */
const UNDESCRIBED = { 200: { type: 'null', description: 'Default Response' } }

const REPLAYED = {
  'Idempotent-Replayed': { type: 'string', enum: ['true'], description: 'This is the stored answer to an earlier request with the same idempotency key.' }
}

/** How @fastify/swagger is told a description that is not the schema's own. */
const DESCRIPTION = 'x-response-description'

/**
 * A route's response schemas, with the header that tells a replay where there can be one, and with the refusals: where
 * the route describes the status of one itself, both are described.
 * @param version of the OpenAPI document, `undefined` if the app leaves it to @fastify/swagger: 3.0
 */
export function withRefusals (schema: FastifySchema, route: ProtectedRoute, version = '3.0'): JsonSchema {
  const own = isSchema(schema.response) ? schema.response : UNDESCRIBED as JsonSchema
  const { replayable } = route.settings
  const responses = Object.fromEntries(Object.entries(own).map(([status, response]) => [status, withReplayed(response, status, replayable)]))
  for (const refusal of refusalsOf(route)) {
    const status = String(refusal.status)
    // A status that is described replaces the range that it is part of, so what is said of the range is said here too.
    const described = nameIn(own, status) ?? nameIn(own, `${status.charAt(0)}xx`) ?? nameIn(own, 'default')
    const response = described === undefined ? undefined : withReplayed(own[described], status, replayable)
    responses[status] = isSchema(response) ? beside(response, refusal, mediaOf(response, schema.produces, version)) : alone(refusal)
  }
  return responses
}

function withReplayed (response: unknown, status: string, replayable: Replayable): unknown {
  if (!isSchema(response) || !statusesOf(status).some(statusCode => mayBeReplayed(replayable, statusCode))) return response
  return { ...response, headers: withHeaders(response.headers, REPLAYED) }
}

/** What a promise will say is not known here. */
function mayBeReplayed (replayable: Replayable, statusCode: number): boolean {
  const answer = replayable(statusCode)
  if (typeof answer === 'boolean') return answer
  void Promise.resolve(answer).catch(() => {})
  return true
}

/** `404`, all of `4xx`, or of `default`. */
function statusesOf (status: string): number[] {
  if (/^\d+$/.test(status)) return [Number(status)]
  const first = /^[1-5]xx$/i.test(status) ? Number(status.charAt(0)) : 1
  const last = status === 'default' ? 5 : first
  return Array.from({ length: (last - first + 1) * 100 }, (_, i) => first * 100 + i)
}

function alone ({ description, headers, problem }: Refusal): JsonSchema {
  return responseOf(description, headers, problem === null ? {} : { [PROBLEM]: { schema: problem } })
}

/** The route's own response under its media types, and the refusal under that of problems. */
function beside (own: JsonSchema, { description, headers, problem }: Refusal, media: JsonSchema): JsonSchema {
  const ownDescription = own[DESCRIPTION] ?? own.description
  return responseOf(
    typeof ownDescription === 'string' ? `${ownDescription}\n\n${description}` : description,
    withHeaders(own.headers, headers),
    problem === null ? media : withProblem(media, problem)
  )
}

function withProblem (media: JsonSchema, problem: JsonSchema): JsonSchema {
  const own = media[PROBLEM]
  return { ...media, [PROBLEM]: isSchema(own) ? { ...own, schema: { anyOf: [own.schema, problem] } } : { schema: problem } }
}

/** The media types of a response that is a schema, or is described by media type, or has no body. */
function mediaOf (response: JsonSchema, produces: readonly string[] | undefined, version: string): JsonSchema {
  if (response.type === 'null') return {}
  if (isSchema(response.content)) return response.content
  const { headers: _headers, [DESCRIPTION]: _description, ...schema } = response
  const media = { schema: version.startsWith('3.0') ? withoutExamples(schema) : schema }
  return Object.fromEntries((produces === undefined || produces.length === 0 ? ['application/json'] : produces).map(type => [type, media]))
}

function responseOf (description: string, headers: JsonSchema, content: JsonSchema): JsonSchema {
  return Object.keys(content).length === 0 ? { type: 'null', description, headers } : { description, headers, content }
}
