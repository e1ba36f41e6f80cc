/** Answers that have no body, and that a platform's Response takes none for. */
const BODILESS = new Set([204, 205, 304])

/** The answer as the platform knows it: node-fetch has a stream of Node.js in the place of its body. */
export function toPlatformResponse (response: Response): Response {
  const body: unknown = response.body
  if (!isIterable(body)) return response
  const { status, statusText, url, redirected } = response
  const copy = new Response(BODILESS.has(status) ? null : streamOf(body), { status, statusText, headers: [...response.headers] })
  // What a Response that was made has no option for.
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
