type Body = NonNullable<RequestInit['body']>

/** Of a Blob or File, whosever it is. */
interface BlobLike {
  type: string
  name?: string
  arrayBuffer (): Promise<ArrayBuffer>
}

/**
 * The body as the platform knows it. Packages that bring a fetch bring their own FormData and Blob, of which the
 * platform would write no more than "[object FormData]". Only of these it is a promise, for the bytes of their files:
 * what the caller can still change has been read when this returns.
 * @throws {TypeError} if it cannot be sent twice, or not at all
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

/** A web stream, a Node.js stream (a form of the package form-data is one), or what else can be read only once. */
function isStream (body: object): boolean {
  return 'getReader' in body || Symbol.asyncIterator in body || ('pipe' in body && typeof body.pipe === 'function')
}

function isKnown (body: object): body is Exclude<Body, string> {
  return [FormData, Blob, URLSearchParams, ArrayBuffer].some(type => body instanceof type) || ArrayBuffer.isView(body)
}

/** What fetch would make of it: of a URL its address. */
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
