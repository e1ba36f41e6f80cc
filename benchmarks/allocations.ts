import type { Allocations } from './allocation-sampler.ts'
import { atMost } from './goals.ts'
import type { Goal } from './goals.ts'
import type { Context } from './lane.ts'
import { modeOf } from './modes.ts'
import { startServer } from './processes.ts'
import { table } from './report.ts'

/** Bytes on the heap of V8 that each request of a mode allocates, of objects of any age. */
export interface ModeAllocations {
  mode: string
  bytes: number
  /** Bytes by the place in the code that allocated them, the largest first. */
  sites: Array<[site: string, bytes: number]>
}

const MODES = [
  'bare', 'floor first', 'plugin first', 'memory first', 'node-idempotency first',
  'floor replay', 'plugin replay', 'plugin replay cached', 'memory replay', 'node-idempotency replay'
]
const WARM_UP = 20_000
const REQUESTS = 10_000
const CONNECTIONS = 20
/** The number of keys that replays use in turn. */
const POOL = 500

export async function measureAllocations (
  { load, servers }: Context,
  progress: (text: string) => void
): Promise<ModeAllocations[]> {
  const measured: ModeAllocations[] = []
  for (const name of MODES) {
    const { app, work, traffic } = modeOf(name)
    const server = await startServer({ app, work, servers })
    const send = async (requests: number, tag: string): Promise<void> => {
      const keys = traffic === 'replay' || traffic === 'cached' ? POOL : 0
      const prefix = `allocations-${name.replaceAll(' ', '-')}`
      const key = keys === 0 ? `${prefix}-${tag}-#` : `${prefix}-#`
      const report = await load.send({ url: server.url, requests, connections: CONNECTIONS, key, share: 1, keys })
      if (report.statuses['200'] !== requests) throw new Error(`${name}: ${JSON.stringify(report.statuses)}`)
    }
    // Each key once, so that no replay meets a run.
    if (traffic !== 'first') await send(POOL, 'warm')
    await send(WARM_UP, 'warm')
    await server.sample()
    await send(REQUESTS, 'sampled')
    measured.push({ mode: name, ...perRequest(await server.sampled()) })
    await server.stop()
    progress(`allocations of ${name}`)
  }
  return measured
}

/** Sites that allocate less than a byte for each request are left out. */
function perRequest ({ total, sites }: Allocations): Omit<ModeAllocations, 'mode'> {
  return {
    bytes: total / REQUESTS,
    sites: sites.map(([site, bytes]): [string, number] => [site, bytes / REQUESTS]).filter(([, bytes]) => bytes >= 1)
  }
}

function overBare (measured: ModeAllocations[], name: string): number {
  const bytesOf = (mode: string): number => measured.find(entry => entry.mode === mode)?.bytes ?? NaN
  return (bytesOf(name) - bytesOf('bare')) / 1_000
}

export function allocationGoals (measured: ModeAllocations[]): Goal[] {
  return [
    atMost(9, 'allocated by a first run, over bare', overBare(measured, 'plugin first'), ' KB'),
    atMost(5, 'allocated by a replay over Redis, over bare', overBare(measured, 'plugin replay'), ' KB')
  ]
}

export function allocationTable (measured: ModeAllocations[]): string {
  return table(
    ['allocated a request', 'KB', 'KB over bare', 'KB in the plugin\'s own code'],
    measured.map(({ mode, bytes, sites }) => [
      mode.endsWith('cached') ? `${mode} (no round trip)` : mode,
      (bytes / 1_000).toFixed(1),
      overBare(measured, mode).toFixed(1),
      (sites.filter(isOwn).reduce((sum, [, size]) => sum + size, 0) / 1_000).toFixed(1)
    ])
  )
}

/** The table of all modes, and for each of the plugin's modes the places in the plugin's code that allocate most. */
export function allocationSites (measured: ModeAllocations[]): string {
  return [
    allocationTable(measured),
    ...measured.filter(({ mode }) => /^(?:plugin|memory) /.test(mode)).flatMap(({ mode, sites }) => [
      `${mode}, in the plugin's own code:`,
      table(['site', 'bytes a request'], rowsOf(sites.filter(isOwn))),
      `${mode}, elsewhere:`,
      table(['site', 'bytes a request'], rowsOf(sites.filter(site => !isOwn(site))))
    ])
  ].join('\n\n')
}

const SHOWN = 20

function rowsOf (sites: Array<[site: string, bytes: number]>): string[][] {
  return sites.slice(0, SHOWN).map(([site, bytes]) => [site, bytes.toFixed(0)])
}

function isOwn ([site]: [site: string, bytes: number]): boolean {
  return site.includes(' dist/esm/')
}
