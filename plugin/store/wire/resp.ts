import type { Value } from './commands.ts'

/*
 * Requests in RESP, the protocol of Redis: an array of bulk strings. Versions 2 and 3 write requests in the same way.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */

/**
 * A request, or its text before a body, the body, and the text after it. The body is apart if it is bytes, or large
 * text: to join large text costs more than all the rest, since all of it is copied.
 */
export type Request = string | readonly [before: string, body: string | Buffer, after: string]

/** Characters from which text is large. Smaller text costs less in one piece. */
const LARGE = 32_768

/** The end of each part. */
export const END = '\r\n'

/** The beginning of a request that has `parts` parts. */
export function begin (parts: number): string {
  return `*${parts}\r\n`
}

export function bulk (text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`
}

/** As `bulk`, for text that is known to be ASCII. */
export function asciiBulk (text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}

/** A request with one part that may contain bytes. */
export function around (before: string, value: Value, after: string): Request {
  if (typeof value === 'string') return before + bulk(value) + after
  const [head, body] = value
  if (typeof body === 'string' && body.length < LARGE) return before + bulk(head + body) + after
  return [`${before}$${Buffer.byteLength(head) + Buffer.byteLength(body)}\r\n${head}`, body, `\r\n${after}`]
}
