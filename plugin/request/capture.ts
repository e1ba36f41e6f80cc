import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

export interface Captured {
  /** Text or bytes. `null`: the body is larger than `maxBodySize`. */
  body: string | Buffer | null
  /** What is to be sent: the payload itself, or what a stream was gathered into. */
  payload: unknown
}

/**
 * The bytes of a payload in `onSend`: after the response schema, before compression. Reads a stream to its end, so that
 * it is stored before its first byte leaves. A stream that is too large is passed on as it was. Gives the reply the
 * status and the headers of a fetch `Response`.
 * @returns `undefined` for what Fastify will refuse to send
 * @throws the error of a stream that fails, which becomes the answer
 */
export function capture (
  reply: FastifyReply, payload: unknown, maxBodySize: number
): Captured | Promise<Captured> | undefined {
  if (payload === undefined || payload === null) return { body: '', payload }
  if (typeof payload === 'string') return { body: Buffer.byteLength(payload) > maxBodySize ? null : payload, payload }
  // A copy: the handler may use its buffer again.
  if (payload instanceof Uint8Array) {
    return { body: payload.length > maxBodySize ? null : Buffer.from(payload), payload }
  }
  if (Object.prototype.toString.call(payload) === '[object Response]') {
    const response = payload as Response
    if (response.bodyUsed) return undefined
    // Fastify would do the same, but only after `onSend`.
    reply.code(response.status)
    for (const [name, value] of response.headers) reply.header(name, value)
    return response.body === null ? { body: '', payload: null } : gather(reply, response.body, maxBodySize)
  }
  const stream = payload as Partial<AsyncIterable<Uint8Array | string> & NodeJS.ReadableStream>
  if (typeof stream[Symbol.asyncIterator] === 'function') {
    return gather(reply, stream as AsyncIterable<Uint8Array | string>, maxBodySize)
  }
  if (typeof stream.pipe === 'function') {
    return gather(reply, new Readable().wrap(stream as NodeJS.ReadableStream), maxBodySize)
  }
  return undefined
}

async function gather (
  reply: FastifyReply, stream: AsyncIterable<Uint8Array | string>, maxBodySize: number
): Promise<Captured> {
  const chunks: Buffer[] = []
  let size = 0
  const rest = stream[Symbol.asyncIterator]()
  while (size <= maxBodySize) {
    const next = await rest.next()
    if (next.done === true) {
      const body = Buffer.concat(chunks, size)
      return { body, payload: framed(reply, body) }
    }
    const chunk = Buffer.from(next.value as Uint8Array)
    chunks.push(chunk)
    size += chunk.length
  }
  return { body: null, payload: Readable.from(continued(chunks, rest), { objectMode: false }) }
}

/**
 * Bytes in the form that the app's headers announce. For a Buffer Fastify sends `content-length`. Beside a
 * `transfer-encoding`, that makes clients reject the answer. Beside a `trailer`, Node.js does not send it.
 */
export function framed (reply: FastifyReply, body: Buffer): Buffer | Readable {
  if (!reply.hasHeader('transfer-encoding') && !reply.hasHeader('trailer')) return body
  return Readable.from(body.length === 0 ? [] : [body], { objectMode: false })
}

type Chunk = Uint8Array | string

async function * continued (chunks: Buffer[], rest: AsyncIterator<Chunk>): AsyncGenerator<Chunk> {
  yield * chunks
  yield * { [Symbol.asyncIterator]: () => rest }
}
