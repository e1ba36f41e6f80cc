import swagger from '@fastify/swagger'
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { idempotencyTransform } from '../../plugin/openapi/transform.ts'
import { build, MemoryStore } from '../helper.ts'
import type { IdempotencyOptions } from '../../plugin/index.ts'

export type Schema = Record<string, unknown>

/** The parts of an OpenAPI document that these tests check. */
export interface Operation {
  parameters?: Array<{ name: string, in: string, required?: boolean, description?: string, schema: Schema }>
  responses: Record<string, Response>
}

export interface Response {
  description: string
  headers?: Record<string, { description?: string, schema: Schema }>
  content?: Record<string, { schema: Schema }>
}

export interface Document {
  paths: Record<string, Record<string, Operation>>
  components?: { schemas?: Record<string, Schema> }
}

interface Described {
  app: FastifyInstance
  document: Document
  /** The operation of a path, `post` unless another method is given. */
  operation (path: string, method?: string): Operation
}

interface DescribeOptions extends Partial<IdempotencyOptions> {
  version?: string
  /** Whether `@fastify/swagger` is registered after the plugin. */
  swaggerLast?: boolean
  swagger?: FastifyDynamicSwaggerOptions
}

/** The document of an app with these routes, after a validator has accepted it. */
export async function describe (
  t: Test,
  routes: (app: FastifyInstance) => Promise<unknown> | void,
  options: DescribeOptions = {}
): Promise<Described> {
  const { version = '3.1.0', swaggerLast = false, swagger: swaggerOptions, ...pluginOptions } = options
  const registerSwagger = async (app: FastifyInstance): Promise<void> => {
    await app.register(swagger, { ...openapi(version), ...swaggerOptions })
  }
  const { app } = await build(
    t,
    { ...(pluginOptions.redis === undefined && { store: new MemoryStore() }), ...pluginOptions },
    swaggerLast ? undefined : registerSwagger
  )
  if (swaggerLast) await registerSwagger(app)
  await routes(app)
  await app.ready()
  const document = await validDocument(app)
  return { app, document, operation: (path, method = 'post') => operationOf(document, path, method) }
}

/** The options that an app registers @fastify/swagger with. */
export function openapi (version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: { openapi: version, info: { title: 'Payments', version: '1.0.0' } },
    transform: idempotencyTransform()
  }
}

/** @throws if the app's document is not valid OpenAPI, also by the rules that the specification gives only in words */
export async function validDocument (app: FastifyInstance): Promise<Document> {
  // The document as clients receive it.
  const document = JSON.parse(JSON.stringify(app.swagger())) as Document
  const { valid, errors } = await new Validator().validate(structuredClone(document) as unknown as Schema)
  if (!valid) throw new Error(`the document is not valid OpenAPI: ${JSON.stringify(errors, null, 2)}`)
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { parameters = [] }] of Object.entries(methods)) {
      const names = parameters.map(({ name, in: where }) => where === 'header' ? name.toLowerCase() : name)
      if (new Set(names).size < names.length) {
        throw new Error(`${method} ${path} has a parameter twice: ${names.join(', ')}`)
      }
    }
  }
  for (const reference of JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (document.components?.schemas?.[reference[1] as string] === undefined) {
      throw new Error(`${reference[0]} leads nowhere`)
    }
  }
  return document
}

export function operationOf ({ paths }: Document, path: string, method = 'post'): Operation {
  const operation = paths[path]?.[method]
  if (operation === undefined) throw new Error(`${method} ${path} is not in the document`)
  return operation
}

/** The header parameters, by name. */
export function headersOf ({
  parameters = []
}: Operation): Record<string, { required: boolean, description: string, schema: Schema }> {
  return Object.fromEntries(
    parameters
      .filter(parameter => parameter.in === 'header')
      .map(({ name, required = false, description = '', schema }) => [name, { required, description, schema }])
  )
}

/** The codes that the problems of a response may have. */
export function codesOf (response: Response | undefined): unknown {
  const properties = response?.content?.['application/problem+json']?.schema.properties as
    Record<string, Schema> | undefined
  return properties?.code?.enum
}
