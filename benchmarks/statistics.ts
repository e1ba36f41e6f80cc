import type { Sample } from './lane.ts'

export function median (values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? sorted[middle] as number
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The value below which this share of the values lies. */
export function quantile (values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
}

export type Figures = Pick<Sample, 'cpu' | 'redisCpu' | 'throughput' | 'p50' | 'p99' | 'p999'> & {
  commands: Sample['commands']
  /** The lowest and the highest CPU of the rounds, which shows how noisy the run was. */
  spread: [lowest: number, highest: number]
}

export function summarize (samples: Sample[]): Figures {
  const of = (pick: (sample: Sample) => number): number => median(samples.map(pick))
  const names = new Set(samples.flatMap(({ commands }) => Object.keys(commands)))
  const cpus = samples.map(({ cpu }) => cpu)
  return {
    cpu: of(({ cpu }) => cpu),
    redisCpu: of(({ redisCpu }) => redisCpu),
    throughput: of(({ throughput }) => throughput),
    p50: of(({ p50 }) => p50),
    p99: of(({ p99 }) => p99),
    p999: of(({ p999 }) => p999),
    commands: Object.fromEntries([...names].map(name => [name, of(({ commands }) => commands[name] ?? 0)])),
    spread: [Math.min(...cpus), Math.max(...cpus)]
  }
}
