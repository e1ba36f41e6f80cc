import { writeFile } from 'node:fs/promises'
import { PEERS } from './apps/index.ts'
import { barChart } from './chart.ts'
import type { Bar } from './chart.ts'
import { addedTo } from './goals.ts'
import type { Figures } from './statistics.ts'

type Row = [mode: string, label: string]

const rowsOfPeers = (traffic: string): Row[] => PEERS.map(peer => [`${peer} ${traffic}`, peer])

const CHARTS: Record<string, { title: string, rows: Row[] }> = {
  'first.svg': {
    title: 'CPU that a first run adds to the bare route',
    rows: [
      ['plugin first', 'this plugin, on Redis'],
      ['memory first', 'this plugin, MemoryStore'],
      ['floor first', 'the floor'],
      ['by hand first', 'GET and SET by hand'],
      ...rowsOfPeers('first')
    ]
  },
  'replay.svg': {
    title: 'CPU of a replay over that of the bare route',
    rows: [
      ['plugin replay', 'this plugin, on Redis'],
      ['memory replay', 'this plugin, MemoryStore'],
      ['floor replay', 'the floor'],
      ['by hand replay', 'GET by hand'],
      ...rowsOfPeers('replay'),
      ['plugin replay cached', 'this plugin, no round trip'],
      ['powertools replay cached', 'powertools, no round trip']
    ]
  }
}

/** The images that benchmarks/README.md shows. */
export async function writeCharts (results: Record<string, Figures>, directory: URL): Promise<void> {
  for (const [file, { title, rows }] of Object.entries(CHARTS)) {
    const bars = rows.flatMap(([mode, label]): Bar[] => {
      const figures = results[mode]
      // A mode that costs less than the bare route, within the error of the measurement, adds nothing.
      if (figures === undefined) return []
      const value = Math.max(0, addedTo(results.bare, figures))
      return [{ label, value, isPlugin: /^(?:plugin|memory) /.test(mode), isCached: mode.endsWith('cached') }]
    })
    await writeFile(new URL(file, directory), barChart(title, 'µs a request', bars))
  }
}
