import { Session } from 'node:inspector/promises'
import type { HeapProfiler } from 'node:inspector'

/** Bytes by the place in the code that allocated them. */
export interface Allocations {
  total: number
  sites: Array<[site: string, bytes: number]>
}

/** On average one in so many bytes is sampled. */
const INTERVAL = 1_024

const PROJECT = new URL('..', import.meta.url).href

let session: Session | undefined

/** Counts everything that JavaScript code allocates from now on, also what is collected meanwhile. */
export async function startSampling (): Promise<void> {
  session = new Session()
  session.connect()
  await session.post('HeapProfiler.startSampling', {
    samplingInterval: INTERVAL,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true
  } as HeapProfiler.StartSamplingParameterType)
}

export async function stopSampling (): Promise<Allocations> {
  if (session === undefined) throw new Error('nothing is sampled')
  const { profile: { head } } = await session.post('HeapProfiler.stopSampling')
  session.disconnect()
  const bytes = new Map<string, number>()
  add(bytes, head, '(no function)')
  const sites = [...bytes].sort(([, a], [, b]) => b - a)
  return { total: sites.reduce((sum, [, size]) => sum + size, 0), sites }
}

/** Functions of V8 itself have no place in the code: what they allocate counts for the function that called them. */
function add (bytes: Map<string, number>, node: HeapProfiler.SamplingHeapProfileNode, caller: string): void {
  const { functionName, url, lineNumber } = node.callFrame
  const site = url === ''
    ? caller
    : `${functionName || '(anonymous)'} ${placeOf(url)}:${lineNumber + 1}`
  if (node.selfSize > 0) bytes.set(site, (bytes.get(site) ?? 0) + node.selfSize)
  for (const child of node.children) add(bytes, child, site)
}

/** The path in this project, or in `node_modules`. */
function placeOf (url: string): string {
  const [, inPackage] = /.*\/node_modules\/(.+)/.exec(url) ?? []
  return inPackage ?? (url.startsWith(PROJECT) ? url.slice(PROJECT.length) : url)
}
