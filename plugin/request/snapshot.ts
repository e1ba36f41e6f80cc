import type { FastifyReply } from 'fastify'
import { resetHeaders } from './headers.ts'
import type { Headers } from './headers.ts'

/** The status and the headers that go with a payload. */
export interface Snapshot {
  statusCode: number
  headers: Headers
}

export function snapshot (reply: FastifyReply): Snapshot {
  return { statusCode: reply.statusCode, headers: reply.getHeaders() }
}

export function putBack (reply: FastifyReply, { statusCode, headers }: Snapshot): void {
  reply.code(statusCode)
  resetHeaders(reply, headers)
}
