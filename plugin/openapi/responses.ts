import type { FastifySchema } from 'fastify'
import type { RouteSettings } from '../options.ts'
import { isSchema, nameIn, withHeaders, withoutExamples } from './json-schema.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ProtectedRoute } from './protected-route.ts'
import { refusalsOf } from './refusals.ts'
import type { Refusal } from './refusals.ts'

type Replayable = RouteSettings['replayable']

const PROBLEM = 'application/problem+json'

/** What @fastify/swagger writes for a route that does not describe its responses. */
const UNDESCRIBED = { 200: { type: 'null', description: 'Default Response' } }

const REPLAYED = {
  'Idempotent-Replayed': {
    type: 'string',
    enum: ['true'],
    description: 'This is the stored answer to an earlier request with the same idempotency key.'
  }
}

/** The property in which @fastify/swagger finds a response's description that is not the schema's own. */
const DESCRIPTION = 'x-response-description'

/**
 * Adds to a route's response schemas the header that marks a replay, where a replay is possible, and the refusals. If
 * the route describes the status of a refusal itself, the result describes both.
 * @param version of the OpenAPI document. `undefined` if the app leaves it to @fastify/swagger, which means 3.0
 */
export function withRefusals (schema: FastifySchema, route: ProtectedRoute, version = '3.0'): JsonSchema {
  const own = isSchema(schema.response) ? schema.response : UNDESCRIBED as JsonSchema
  const { replayable } = route.settings
  const responses = Object.fromEntries(Object.entries(own).map(
    ([status, response]) => [status, withReplayed(response, status, replayable)]
  ))
  for (const refusal of refusalsOf(route)) {
    const status = String(refusal.status)
    // A described status hides the range that it belongs to, so the description of the range is repeated here.
    const described = nameIn(own, status) ?? nameIn(own, `${status.charAt(0)}xx`) ?? nameIn(own, 'default')
    const response = described === undefined ? undefined : withReplayed(own[described], status, replayable)
    responses[status] = isSchema(response)
      ? combined(response, refusal, mediaOf(response, schema.produces, version))
      : refusalOnly(refusal)
  }
  return responses
}

function withReplayed (response: unknown, status: string, replayable: Replayable): unknown {
  const canBeReplayed = statusesOf(status).some(statusCode => mayBeReplayed(replayable, statusCode))
  if (!isSchema(response) || !canBeReplayed) return response
  return { ...response, headers: withHeaders(response.headers, REPLAYED) }
}

/** Whether `replayable` accepts the status. If it returns a promise, this is not known, and so the status counts. */
function mayBeReplayed (replayable: Replayable, statusCode: number): boolean {
  const answer = replayable(statusCode)
  if (typeof answer === 'boolean') return answer
  void Promise.resolve(answer).catch(() => {})
  return true
}

/** The status codes that `404`, `4xx` or `default` stands for. */
function statusesOf (status: string): number[] {
  if (/^\d+$/.test(status)) return [Number(status)]
  const first = /^[1-5]xx$/i.test(status) ? Number(status.charAt(0)) : 1
  const last = status === 'default' ? 5 : first
  return Array.from({ length: (last - first + 1) * 100 }, (_, i) => first * 100 + i)
}

function refusalOnly ({ description, headers, problem }: Refusal): JsonSchema {
  return responseOf(description, headers, problem === null ? {} : { [PROBLEM]: { schema: problem } })
}

/** The route's own response for its media types, and the refusal for the media type of problem documents. */
function combined (own: JsonSchema, { description, headers, problem }: Refusal, media: JsonSchema): JsonSchema {
  const ownDescription = own[DESCRIPTION] ?? own.description
  return responseOf(
    typeof ownDescription === 'string' ? `${ownDescription}\n\n${description}` : description,
    withHeaders(own.headers, headers),
    problem === null ? media : withProblem(media, problem)
  )
}

function withProblem (media: JsonSchema, problem: JsonSchema): JsonSchema {
  const own = media[PROBLEM]
  if (!isSchema(own)) return { ...media, [PROBLEM]: { schema: problem } }
  return { ...media, [PROBLEM]: { ...own, schema: { anyOf: [own.schema, problem] } } }
}

/** The media types of a response, which is a schema, or is described by media type, or has no body. */
function mediaOf (response: JsonSchema, produces: readonly string[] | undefined, version: string): JsonSchema {
  if (response.type === 'null') return {}
  if (isSchema(response.content)) return response.content
  const { headers: _headers, [DESCRIPTION]: _description, ...schema } = response
  const media = { schema: version.startsWith('3.0') ? withoutExamples(schema) : schema }
  const types = produces === undefined || produces.length === 0 ? ['application/json'] : produces
  return Object.fromEntries(types.map(type => [type, media]))
}

function responseOf (description: string, headers: JsonSchema, content: JsonSchema): JsonSchema {
  if (Object.keys(content).length === 0) return { type: 'null', description, headers }
  return { description, headers, content }
}
