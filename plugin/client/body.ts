type Body = NonNullable<RequestInit['body']>

/** A Blob or File of any package. */
interface BlobLike {
  type: string
  name?: string
  arrayBuffer (): Promise<ArrayBuffer>
}

/**
 * Converts the body to a type of the platform. Packages with a fetch of their own also have their own FormData and
 * Blob, which the platform's fetch would send as the text "[object FormData]". The result is a promise only for these,
 * since their files must be read. Everything that the caller can still change has been read when this returns.
 * @throws {TypeError} if the body cannot be sent twice, or not at all
 */
export function toPlatformBody (body: unknown): Body | null | undefined | Promise<Body> {
  if (typeof body !== 'object' || body === null) return body as string | null | undefined
  if (isStream(body)) {
    throw new TypeError('fastify-idempotency/client: a stream can be sent only once, and a retry must send the same ' +
      'body: read it into a string or bytes first')
  }
  if (isKnown(body)) return body
  const kind = kindOf(body)
  if (kind === 'FormData') return toPlatformForm([...body as Iterable<[string, unknown]>])
  if (isBlob(body)) return toPlatformBlob(body)
  const text = textOf(body)
  if (!text.startsWith('[object ')) return text
  const got = kind === 'Object' ? 'an object: JSON.stringify() makes JSON of it' : `a value of type ${kind}`
  throw new TypeError('fastify-idempotency/client: a body must be a string, bytes, a Blob, a URLSearchParams or a ' +
    `FormData, got ${got}`)
}

/**
 * Whether the body can be read only once: a web stream, a Node.js stream (such as a form of the package form-data), or
 * another asynchronous iterable.
 */
function isStream (body: object): boolean {
  return 'getReader' in body || Symbol.asyncIterator in body || ('pipe' in body && typeof body.pipe === 'function')
}

function isKnown (body: object): body is Exclude<Body, string> {
  return [FormData, Blob, URLSearchParams, ArrayBuffer].some(type => body instanceof type) || ArrayBuffer.isView(body)
}

/** The text that fetch would send: the address of a URL, for example. */
function textOf (value: unknown): string {
  return String(value)
}

function kindOf (value: unknown): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

function isBlob (value: unknown): value is BlobLike {
  return /^(Blob|File)$/.test(kindOf(value)) && typeof (value as BlobLike).arrayBuffer === 'function'
}

async function toPlatformForm (entries: Array<[string, unknown]>): Promise<FormData> {
  const copy = new FormData()
  for (const [name, value] of entries) {
    if (!isBlob(value)) copy.append(name, String(value))
    else copy.append(name, await toPlatformBlob(value), value.name)
  }
  return copy
}

async function toPlatformBlob (blob: BlobLike): Promise<Blob> {
  return blob instanceof Blob ? blob : new Blob([await blob.arrayBuffer()], { type: blob.type })
}
