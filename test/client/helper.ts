import Fastify from 'fastify'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { Agent, request as undiciRequest } from 'undici'
import { idempotentFetch } from '../../plugin/client/index.ts'
import type { OperationInfo, RetryOptions } from '../../plugin/client/index.ts'
import { idempotent } from '../../plugin/client/undici.ts'
import type { IdempotentContext } from '../../plugin/client/undici.ts'

/** What the server does with a request. */
export type Step = (request: FastifyRequest, reply: FastifyReply) => unknown

export interface Seen {
  method: string
  headers: FastifyRequest['headers']
  body: Buffer
  /** The connection that the request came on. */
  port: number | undefined
  /** The time of the request, by `performance.now()`. */
  at: number
}

export interface ScriptedServer {
  url: string
  seen: Seen[]
}

/** A server that does the steps one after the other, and then answers 200. */
export async function startScript (t: Test, ...steps: Step[]): Promise<ScriptedServer> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  const seen: Seen[] = []
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.route({
    method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/x',
    handler: async (request, reply) => {
      const { method, headers, raw: { socket } } = request
      seen.push({
        method,
        headers,
        body: request.body as Buffer | undefined ?? Buffer.alloc(0),
        port: socket.remotePort,
        at: performance.now()
      })
      const step = steps.shift()
      return step === undefined ? reply.type('text/plain').send('done') : step(request, reply)
    }
  })
  return { url: `${await app.listen({ host: '127.0.0.1', port: 0 })}/x`, seen }
}

export function answer (status: number, body: unknown = '', headers: Record<string, string> = {}): Step {
  return (_request, reply) => reply.code(status).headers(headers).send(body)
}

/** A problem document. */
export function problem (status: number, members: object): Step {
  return (_request, reply) =>
    reply
      .code(status)
      .type('application/problem+json')
      .send(JSON.stringify({ status, ...members }))
}

/** Never answers. */
export const hang: Step = (_request, reply) => reply.hijack()

/** Takes the request, and cuts the connection. */
export const cut: Step = (request, reply) => {
  reply.hijack()
  request.raw.socket.destroy()
}

/** Cuts the connection in the middle of the body of the answer. */
export const half: Step = async (request, reply) => {
  reply.hijack()
  reply.raw.writeHead(200, { 'content-length': 8 })
  // Only after the bytes are sent: a socket that is destroyed drops what it holds.
  await new Promise(resolve => reply.raw.write('done', resolve))
  request.raw.socket.destroy()
}

/** Retries without delay. */
export const QUICK = { firstDelay: 5, maxDelay: 20 }

export interface Outgoing {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  headers?: Record<string, string>
  body?: string | Uint8Array
  signal?: AbortSignal
}

export interface Incoming extends OperationInfo {
  status: number
  header (name: string): string | null
  text: string
}

/** One of the two clients, in the form that the common rules need. */
export type SendRetrying = (url: string, outgoing?: Outgoing, options?: RetryOptions) => Promise<Incoming>

export const sendByFetch: SendRetrying = async (url, { method = 'POST', ...init } = {}, options = {}) => {
  const response = await idempotentFetch({ ...QUICK, ...options })(url, { method, ...init })
  return {
    ...response.idempotency,
    status: response.status,
    header: name => response.headers.get(name),
    text: await response.text()
  }
}

/** Sends with a dispatcher of the test's own. */
export function sendByUndici (t: Test): SendRetrying {
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  return async (url, { method = 'POST', ...outgoing } = {}, options = {}) => {
    const dispatcher = agent.compose(idempotent({ ...QUICK, ...options }))
    const { statusCode, headers, body, context } = await undiciRequest(url, { dispatcher, method, ...outgoing })
    const { key, tries, replayed } = (context as IdempotentContext).idempotency
    const header = (name: string) => headers[name]?.toString() ?? null
    return { key, tries, replayed, status: statusCode, header, text: await body.text() }
  }
}
