import { MAX_GATHERED } from './policy.ts'

/**
 * Waits until the body of an answer has arrived, and leaves it to be read from `response`. Read to its end, it also
 * leaves the connection free for the next request. `null` if it is larger than `MAX_GATHERED`: the rest is still to come.
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
      // Not waited for: it is over when the other reader is done, too.
      reader?.cancel().catch(() => {})
      return null
    }
  }
}

export function decode (chunks: Uint8Array[]): string {
  const decoder = new TextDecoder()
  return chunks.map(chunk => decoder.decode(chunk, { stream: true })).join('') + decoder.decode()
}
