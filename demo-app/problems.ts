import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** An answer that tells a client what went wrong, as RFC 9457 puts it. Throw it from anywhere. */
export class Problem extends Error {
  override name = 'Problem'
  readonly statusCode: number
  readonly code: string
  /** Members of its own, beside those that every problem has. */
  readonly members: Record<string, unknown>
  /** Whether the same request, with the same key, can succeed later. Nothing is kept of it then. */
  readonly retryable: boolean

  constructor (statusCode: number, code: string, detail: string, members: Record<string, unknown> = {}, { retryable = statusCode >= 500 } = {}) {
    super(detail)
    this.statusCode = statusCode
    this.code = code
    this.members = members
    this.retryable = retryable
  }
}

/** The document of a problem. */
export interface ProblemBody {
  type: string
  title: string
  status: number
  detail: string
  code: string
  retryable: boolean
}

export function problemBody ({ statusCode, code, message, retryable }: Pick<Problem, 'statusCode' | 'code' | 'message' | 'retryable'>): ProblemBody {
  return { type: 'about:blank', title: STATUS_CODES[statusCode] ?? 'Error', status: statusCode, detail: message, code, retryable }
}

/** Every error of the app leaves as a problem: the same members as the plugin's own, so clients need one parser. */
export function answerWithProblems (app: FastifyInstance): void {
  app.setErrorHandler(answerWithProblem)

  app.setNotFoundHandler((request, reply) =>
    send(reply, new Problem(404, 'NOT_FOUND', `There is no ${request.method} ${request.url.split('?', 1)[0]}.`)))
}

export function answerWithProblem (error: FastifyError | Problem, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = toProblem(error)
  if (problem.statusCode >= 500) request.log.error({ err: error }, 'request failed')
  if (problem.retryable) {
    // What is over soon must not be kept as the answer.
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
        in: error.validationContext, path: instancePath, detail: message
      }))
    })
  }
  // What Fastify refuses itself: broken JSON, a media type it cannot read, a body that is too large. And what the
  // plugin throws in a handler.
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new Problem(error.statusCode, error.code, error.message)
  }
  // Anything else is ours to look into, in the log. What it says is none of the client's business.
  return new Problem(500, 'INTERNAL_ERROR', 'Something went wrong here. Try again, with the same idempotency key if the request had one.')
}

function send (reply: FastifyReply, problem: Problem): FastifyReply {
  return reply.code(problem.statusCode).type('application/problem+json').send({ ...problemBody(problem), ...problem.members })
}
