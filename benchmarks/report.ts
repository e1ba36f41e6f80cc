import { addedTo, isMet, roundTrips } from './goals.ts'
import type { Goal } from './goals.ts'
import type { Figures } from './statistics.ts'

/** A table for the terminal and for Markdown: columns are aligned, and numbers stand to the right. */
export function table (header: string[], rows: string[][]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map(row => (row[i] ?? '').length)))
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`).join('|')}|`
  return [line(header), rule, ...rows.map(line)].join('\n')
}

export function figuresTable (results: Record<string, Figures>): string {
  return table(
    [
      'mode', 'CPU µs', 'lowest–highest', 'lowest over bare', 'Redis µs', 'round trips', 'requests/s', 'p50 ms',
      'p99 ms', 'p99.9 ms'
    ],
    Object.entries(results).map(([name, { cpu, spread, redisCpu, commands, throughput, p50, p99, p999 }]) => [
      name,
      cpu.toFixed(1),
      spread.map(value => value.toFixed(0)).join('–'),
      results.bare === undefined ? '' : addedTo(results.bare, results[name]).toFixed(1),
      redisCpu.toFixed(1),
      String(roundTrips(commands)),
      throughput.toFixed(0),
      String(p50),
      String(p99),
      String(p999)
    ]))
}

export function goalsTable (goals: Goal[]): string {
  return table(['goal', 'came to', 'limit', ''], goals.map(goal => [
    goal.what, Number.isNaN(goal.value) ? 'not run' : `${round(goal.value)}${goal.unit}`, `≤ ${goal.limit}${goal.unit}`,
    Number.isNaN(goal.value)
      ? ''
      : isMet(goal)
        ? 'met'
        : `missed by ${goal.limit === 0 ? round(goal.value) : `${Math.round((goal.value / goal.limit - 1) * 100)} %`}`
  ]))
}

function round (value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2)
}
