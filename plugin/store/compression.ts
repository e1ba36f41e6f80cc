import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import type { BrotliOptions } from 'node:zlib'
import { MAX_BODY_SIZE, unreadable } from './record-layout.ts'
import { RecordUnreadableError } from './store.ts'
import type { KeptResponse } from './store.ts'

export type CompressionAlgorithm = 'brotli' | 'zstd'

export interface CompressionSettings {
  /** Bytes: smaller bodies are stored as they are. */
  minSize: number
  algorithm: CompressionAlgorithm
}

/** How a body was compressed. */
export interface Compression {
  algorithm: CompressionAlgorithm
  /** Bytes of the body before. */
  size: number
}

export interface CompressedBody extends Compression {
  bytes: Buffer
}

interface CodecOptions extends BrotliOptions {
  /** Bytes of the input. With it zstd takes no more memory than it needs. Brotli ignores it. */
  pledgedSrcSize?: number
}

type Method = (input: string | Buffer, options: CodecOptions) => Promise<Buffer> | Buffer

interface Codec {
  compress: Method
  decompress: Method
  compressSync: Method
  decompressSync: Method
  /** Those of the level that stores clearly less for the least CPU time. */
  params: Record<number, number>
}

/** What Node.js has from 22.15 and 23.8 on. The types of Node.js 20 do not know it. */
interface WithZstd {
  zstdCompress: typeof zlib.brotliCompress
  zstdDecompress: typeof zlib.brotliDecompress
  zstdCompressSync: typeof zlib.brotliCompressSync
  zstdDecompressSync: typeof zlib.brotliDecompressSync
  constants: { ZSTD_c_compressionLevel: number, ZSTD_c_checksumFlag: number }
}

/** Those that this Node.js has. */
const CODECS: Partial<Record<CompressionAlgorithm, Codec>> = {
  brotli: {
    compress: promisify<string | Buffer, CodecOptions, Buffer>(zlib.brotliCompress),
    decompress: promisify<string | Buffer, CodecOptions, Buffer>(zlib.brotliDecompress),
    compressSync: zlib.brotliCompressSync,
    decompressSync: zlib.brotliDecompressSync,
    params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 }
  },
  ...'zstdCompress' in zlib && { zstd: zstdOf(zlib as unknown as WithZstd) }
}

function zstdOf (zlib: WithZstd): Codec {
  const { ZSTD_c_compressionLevel: level, ZSTD_c_checksumFlag: checksum } = zlib.constants
  return {
    compress: promisify<string | Buffer, CodecOptions, Buffer>(zlib.zstdCompress),
    decompress: promisify<string | Buffer, CodecOptions, Buffer>(zlib.zstdDecompress),
    compressSync: zlib.zstdCompressSync,
    decompressSync: zlib.zstdDecompressSync,
    params: { [level]: 1, [checksum]: 1 }
  }
}

/**
 * Bytes: larger bodies are compressed and decompressed in the thread pool. For smaller ones a call in the thread pool
 * costs more than the work itself, which blocks the event loop for some 60 µs at most.
 */
const LARGEST_IN_EVENT_LOOP = 16 * 1024
/** Bytes: how much room the output has before it gets more. */
const LARGEST_CHUNK = 1024 * 1024
const SMALLEST_CHUNK = 64

export function isSupported (algorithm: CompressionAlgorithm): boolean {
  return CODECS[algorithm] !== undefined
}

/** Compresses the bodies of responses that are worth it. */
export class BodyCompressor {
  readonly #minSize: number
  readonly #algorithm: CompressionAlgorithm
  /** Those that Redis does not have yet, so that a further try compresses nothing again. */
  readonly #compressed = new WeakMap<KeptResponse, Promise<CompressedBody | null>>()

  constructor ({ minSize, algorithm }: CompressionSettings) {
    this.#minSize = minSize
    this.#algorithm = algorithm
  }

  /** @returns `null`, or a promise of it, if the body is to be stored as it is */
  compress (response: KeptResponse): Promise<CompressedBody | null> | null {
    const size = Buffer.byteLength(response.body)
    if (size < this.#minSize || isEncoded(response)) return null
    let compressed = this.#compressed.get(response)
    if (compressed === undefined) {
      compressed = compress(response.body, { algorithm: this.#algorithm, size })
      this.#compressed.set(response, compressed)
    }
    return compressed
  }

  /** Call it once Redis has the response, or never will have it. */
  forget (response: KeptResponse): void {
    this.#compressed.delete(response)
  }
}

/** Whether the app has compressed the body itself. */
function isEncoded ({ headers }: KeptResponse): boolean {
  return headers.some(([name, value]) => name === 'content-encoding' && value !== null)
}

async function compress (body: string | Buffer, compression: Compression): Promise<CompressedBody | null> {
  const { algorithm, size } = compression
  const codec = CODECS[algorithm]
  if (codec === undefined) return null
  try {
    const method = size > LARGEST_IN_EVENT_LOOP ? codec.compress : codec.compressSync
    const bytes = await method(body, { params: codec.params, chunkSize: roomFor(size), pledgedSrcSize: size })
    return bytes.length < size ? { ...compression, bytes } : null
  } catch {
    // The outcome must not be lost for want of memory: it is stored as it is.
    return null
  }
}

/** @throws {RecordUnreadableError} if these bytes are not the compressed form of a body of that size */
export async function decompress (bytes: Buffer, { algorithm, size }: Compression): Promise<Buffer> {
  const codec = CODECS[algorithm]
  if (codec === undefined) {
    throw new RecordUnreadableError(
      `The body of the stored response is compressed with ${algorithm}, which this Node.js cannot read ` +
      `(${process.version}): Node.js 22.15 or later is needed`
    )
  }
  if (size > MAX_BODY_SIZE) throw unreadable()
  let body: Buffer
  try {
    const method = size > LARGEST_IN_EVENT_LOOP ? codec.decompress : codec.decompressSync
    // Somebody else who writes to this Redis could store few bytes that become very many.
    body = await method(bytes, { chunkSize: roomFor(size), maxOutputLength: size })
  } catch (error) {
    throw unreadable(error)
  }
  if (body.length !== size) throw unreadable()
  return body
}

/** Room for one byte more than the output has: so Node.js need not ask whether there is more. */
function roomFor (size: number): number {
  return Math.max(SMALLEST_CHUNK, Math.min(size + 1, LARGEST_CHUNK))
}
