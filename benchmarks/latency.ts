import { atMost, shown } from './goals.ts'
import type { Goal } from './goals.ts'
import type { Context } from './lane.ts'
import { modeOf } from './modes.ts'
import { table } from './report.ts'
import { measureInRounds } from './rounds.ts'
import { summarize } from './statistics.ts'

/*
 * Latency: one connection sends one request after the other, so nothing waits for anything but this request. The load
 * process measures each request.
 */

export interface Latency {
  mode: string
  /** Microseconds from the request to its answer. */
  p50: number
  p99: number
  isDisturbed: boolean
}

const REQUESTS = 2_000

/** The modes that are measured over one connection. */
export const LATENCY_MODES = [
  'bare', 'floor first', 'plugin first', 'by hand first', 'node-idempotency first', 'powertools first',
  'floor replay', 'plugin replay', 'by hand replay', 'node-idempotency replay', 'powertools replay',
  'plugin replay cached'
]

export async function measureLatency (
  names: string[],
  rounds: number,
  context: Context,
  progress: (text: string) => void
): Promise<Latency[]> {
  const modes = names.map(name => ({ ...modeOf(name), share: 1 }))
  const samples = await measureInRounds(
    modes,
    { generations: 1, rounds },
    { ...context, requests: REQUESTS, connections: 1 },
    text => progress(`1 connection, ${text}`)
  )
  return [...samples].map(([{ name }, values]) => {
    const { best, windows } = summarize(values)
    return { mode: name, p50: best.p50 * 1_000, p99: best.p99 * 1_000, isDisturbed: windows.areDisturbed }
  })
}

export function latencyGoals (latencies: Latency[]): Goal[] {
  const p50 = (mode: string): number => latencies.find(entry => entry.mode === mode)?.p50 ?? NaN
  return [
    atMost(1.1, 'latency of a first run over 1 connection, p50, against the floor',
      p50('plugin first') / p50('floor first')),
    shown('latency of a replay over 1 connection, p50, against the floor', p50('plugin replay') / p50('floor replay'))
  ]
}

export function latencyTable (latencies: Latency[]): string {
  return table(
    ['over 1 connection', 'p50 µs', 'p99 µs', ''],
    latencies.map(({ mode, p50, p99, isDisturbed }) => [
      mode.endsWith('cached') ? `${mode} (no round trip)` : mode,
      p50.toFixed(0),
      p99.toFixed(0),
      isDisturbed ? 'disturbed' : ''
    ])
  )
}
