import { MAX_GATHERED } from './policy.ts'

/**
 * Waits until the body of an answer has arrived. The caller can still read the body from `response`. A body that was
 * read to its end also leaves the connection free for the next request.
 * @returns `null` if the body is larger than `MAX_GATHERED`: then its rest has not arrived yet
 */
export async function gather (response: Response): Promise<Uint8Array[] | null> {
  const reader = response.clone().body?.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const next = await reader?.read()
    if (next === undefined || next.done) return chunks
    const chunk = next.value as Uint8Array
    chunks.push(chunk)
    size += chunk.length
    if (size > MAX_GATHERED) {
      // This must not be awaited: it resolves only after the other reader has finished too.
      reader?.cancel().catch(() => {})
      return null
    }
  }
}

export function decode (chunks: Uint8Array[]): string {
  const decoder = new TextDecoder()
  return chunks.map(chunk => decoder.decode(chunk, { stream: true })).join('') + decoder.decode()
}
