import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** An error that a client gets as a problem document (RFC 9457). Throw it from anywhere. */
export class Problem extends Error {
  override name = 'Problem'
  readonly statusCode: number
  readonly code: string
  /** Further members of the document, beside those that every problem has. */
  readonly members: Record<string, unknown>
  /** Whether the same request with the same key can succeed later. If so, the plugin does not keep this answer. */
  readonly retryable: boolean

  constructor (
    statusCode: number,
    code: string,
    detail: string,
    members: Record<string, unknown> = {},
    { retryable = statusCode >= 500 } = {}
  ) {
    super(detail)
    this.statusCode = statusCode
    this.code = code
    this.members = members
    this.retryable = retryable
  }
}

/** A problem document. */
export interface ProblemBody {
  type: string
  title: string
  status: number
  detail: string
  code: string
  retryable: boolean
}

export function problemBody ({
  statusCode,
  code,
  message,
  retryable
}: Pick<Problem, 'statusCode' | 'code' | 'message' | 'retryable'>): ProblemBody {
  return {
    type: 'about:blank',
    title: STATUS_CODES[statusCode] ?? 'Error',
    status: statusCode,
    detail: message,
    code,
    retryable
  }
}

/** Sends every error as a problem document with the same members as the plugin's, so that clients need one parser. */
export function answerWithProblems (app: FastifyInstance): void {
  app.setErrorHandler(answerWithProblem)

  app.setNotFoundHandler((request, reply) =>
    send(reply, new Problem(404, 'NOT_FOUND', `There is no ${request.method} ${request.url.split('?', 1)[0]}.`)))
}

export function answerWithProblem (
  error: FastifyError | Problem,
  request: FastifyRequest,
  reply: FastifyReply
): FastifyReply {
  const problem = toProblem(error)
  if (problem.statusCode >= 500) request.log.error({ err: error }, 'request failed')
  if (problem.retryable) {
    // A retry may succeed, so the plugin must not keep this as the answer.
    request.idempotency?.release()
    reply.header('retry-after', 1)
  }
  return send(reply, problem)
}

function toProblem (error: FastifyError | Problem): Problem {
  if (error instanceof Problem) return error
  if (error.validation) {
    return new Problem(400, 'INVALID_REQUEST', 'The request does not fit this route: "errors" says where.', {
      errors: error.validation.map(({ instancePath, message }) => ({
        in: error.validationContext,
        path: instancePath,
        detail: message
      }))
    })
  }
  // Fastify refuses broken JSON, media types that it cannot read and bodies that are too large. The plugin throws
  // errors in handlers.
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new Problem(error.statusCode, error.code, error.message)
  }
  // Every other error is a fault of this app. Its message goes to the log, and must not reach the client.
  return new Problem(500, 'INTERNAL_ERROR',
    'Something went wrong here. Try again, with the same idempotency key if the request had one.')
}

function send (reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.statusCode)
    .type('application/problem+json')
    .send({ ...problemBody(problem), ...problem.members })
}
