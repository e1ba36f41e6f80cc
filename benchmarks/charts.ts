import { writeFile } from 'node:fs/promises'
import { PEERS } from './apps/index.ts'
import { barChart } from './chart.ts'
import { addedTo } from './goals.ts'
import type { Figures } from './statistics.ts'

/** The images that the README shows. */
export async function writeCharts (results: Record<string, Figures>, directory: URL): Promise<void> {
  for (const traffic of ['first', 'replay']) {
    const names = ['floor', 'plugin', 'memory', ...PEERS]
    const bars = names.flatMap((name) => {
      const figures = results[`${name} ${traffic}`]
      return figures === undefined
        ? []
        : [{ label: name, value: addedTo(results.bare, figures), highlighted: name === 'plugin' }]
    })
    const title =
      traffic === 'first'
        ? 'CPU that a first run adds to the bare route'
        : 'CPU of a replay over that of the bare route'
    await writeFile(new URL(`${traffic}.svg`, directory), barChart(title, 'µs a request', bars))
  }
}
