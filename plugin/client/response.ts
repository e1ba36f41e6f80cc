/** Status codes of answers without a body. The constructor of `Response` accepts no body for them. */
const BODILESS = new Set([204, 205, 304])

/** Converts the answer to a `Response` of the platform: the body of node-fetch's answers is a stream of Node.js. */
export function toPlatformResponse (response: Response): Response {
  const body: unknown = response.body
  if (!isIterable(body)) return response
  const { status, statusText, url, redirected } = response
  const headers = [...response.headers]
  const copy = new Response(BODILESS.has(status) ? null : streamOf(body), { status, statusText, headers })
  // The constructor has no options for these.
  return Object.defineProperties(copy, { url: { value: url }, redirected: { value: redirected } })
}

function isIterable (body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && body !== null && !('getReader' in body) && Symbol.asyncIterator in body
}

function streamOf (body: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]()
  return new ReadableStream({
    async pull (controller) {
      const next = await chunks.next()
      if (next.done === true) controller.close()
      else controller.enqueue(next.value)
    },
    async cancel () {
      await chunks.return?.()
    }
  })
}
