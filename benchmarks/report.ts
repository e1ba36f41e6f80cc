import { addedTo, isMet, roundTrips } from './goals.ts'
import type { Goal } from './goals.ts'
import { percent } from './machine.ts'
import type { Figures } from './statistics.ts'

/** A table for the terminal and for Markdown: columns are aligned, and numbers stand to the right. */
export function table (header: string[], rows: string[][]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map(row => (row[i] ?? '').length)))
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`).join('|')}|`
  return [line(header), rule, ...rows.map(line)].join('\n')
}

/** What the tables say about a cached replay beside its name. */
const CACHED = '(no round trip)'

export function figuresTable (results: Record<string, Figures>): string {
  const { bare } = results
  return table(
    [
      'mode', 'CPU µs', 'lowest–highest', 'best', 'best over bare', 'Redis µs', 'round trips', 'requests/s', 'best',
      'p50 ms', 'p99 ms', 'best', 'p99.9 ms', ''
    ],
    Object.entries(results).map(([name, figures]) => {
      const { cpu, spread, best, redisCpu, commands, throughput, p50, p99, p999, windows } = figures
      return [
        name.endsWith('cached') ? `${name} ${CACHED}` : name,
        cpu.toFixed(1),
        spread.map(value => value.toFixed(0)).join('–'),
        best.cpu.toFixed(1),
        bare === undefined ? '' : addedTo(bare, figures).toFixed(1),
        redisCpu.toFixed(1),
        String(roundTrips(commands)),
        throughput.toFixed(0),
        best.throughput.toFixed(0),
        p50.toFixed(2),
        p99.toFixed(2),
        best.p99.toFixed(2),
        p999.toFixed(2),
        windows.areDisturbed ? 'disturbed' : ''
      ]
    }))
}

/** How much of the run was measured while something else ran on the machine. */
export function windowsText (results: Record<string, Figures>): string {
  const all = Object.entries(results)
  const sum = (pick: (figures: Figures) => number): number =>
    all.reduce((total, [, figures]) => total + pick(figures), 0)
  const kept = sum(({ windows }) => windows.used + (windows.areDisturbed ? 0 : windows.disturbed))
  const disturbed = sum(({ windows }) => windows.disturbed)
  const repeated = sum(({ windows }) => windows.repeated)
  const marked = all.filter(([, { windows }]) => windows.areDisturbed).length
  return `Something else ran in ${repeated + disturbed} of ${kept + repeated} windows ` +
    `(${percent((repeated + disturbed) / (kept + repeated))}). Of these, ${repeated} were measured again, and ` +
    `${disturbed} (${percent(disturbed / kept)} of all that count) stayed disturbed. ` +
    `${marked} of ${all.length} modes had too few quiet windows, and are marked as disturbed.`
}

export function goalsTable (goals: Goal[]): string {
  return table(['goal', 'came to', 'limit', ''], goals.map(goal => [
    goal.what,
    Number.isNaN(goal.value) ? 'not run' : `${round(goal.value)}${goal.unit}`,
    goal.kind === 'shown' ? '' : `${goal.kind === 'at least' ? '≥' : '≤'} ${goal.limit}${goal.unit}`,
    Number.isNaN(goal.value) || goal.kind === 'shown' ? '' : isMet(goal) ? 'met' : `missed by ${missedBy(goal)}`
  ]))
}

function missedBy ({ value, limit }: Goal): string {
  return limit === 0 ? round(value) : `${Math.round(Math.abs(value / limit - 1) * 100)} %`
}

function round (value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2)
}
