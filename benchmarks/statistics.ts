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
  return ofSorted([...values].sort((a, b) => a - b), share)
}

export function ofSorted (sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
}

/** With fewer values, a third of them has no median that is better than its extreme. */
const ENOUGH = 9

/**
 * The value of the windows that were disturbed least: a disturbance can only add to a cost. It is the median of the
 * lowest third, or the lowest value if there are few.
 */
export function lowest (values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted.length < ENOUGH ? sorted[0] ?? NaN : median(sorted.slice(0, Math.floor(sorted.length / 3)))
}

/** The same for values that a disturbance can only lower. */
export function highest (values: number[]): number {
  return -lowest(values.map(value => -value))
}

export type Figures = Pick<Sample, 'cpu' | 'redisCpu' | 'throughput' | 'p50' | 'p99' | 'p999'> & {
  commands: Sample['commands']
  /** The lowest and the highest CPU of the windows, which shows how noisy the run was. */
  spread: [lowest: number, highest: number]
  /** What the modes are compared by: see `lowest` and `highest`. */
  best: { cpu: number, redisCpu: number, throughput: number, p50: number, p99: number }
  windows: Windows
}

export interface Windows {
  /** Those that the figures are from. */
  used: number
  /** Those that were measured while something else ran, and were measured again. */
  repeated: number
  /** Those that were disturbed each time. */
  disturbed: number
  /** There were too few quiet windows, so disturbed ones are in the figures. */
  areDisturbed: boolean
}

/** Figures are taken from quiet windows alone if so many of them are left. */
const QUIET_ENOUGH = 3

export function summarize (samples: Sample[]): Figures {
  const quiet = samples.filter(({ disturbance }) => disturbance?.isDisturbed !== true)
  const used = quiet.length >= Math.min(QUIET_ENOUGH, samples.length) ? quiet : samples
  const all = (pick: (sample: Sample) => number): number[] => used.map(pick)
  const of = (pick: (sample: Sample) => number): number => median(all(pick))
  const names = new Set(used.flatMap(({ commands }) => Object.keys(commands)))
  const cpus = all(({ cpu }) => cpu)
  return {
    cpu: median(cpus),
    redisCpu: of(({ redisCpu }) => redisCpu),
    throughput: of(({ throughput }) => throughput),
    p50: of(({ p50 }) => p50),
    p99: of(({ p99 }) => p99),
    p999: of(({ p999 }) => p999),
    commands: Object.fromEntries([...names].map(name => [name, of(({ commands }) => commands[name] ?? 0)])),
    spread: [Math.min(...cpus), Math.max(...cpus)],
    best: {
      cpu: lowest(cpus),
      redisCpu: lowest(all(({ redisCpu }) => redisCpu)),
      throughput: highest(all(({ throughput }) => throughput)),
      p50: lowest(all(({ p50 }) => p50)),
      p99: lowest(all(({ p99 }) => p99))
    },
    windows: {
      used: used.length,
      repeated: samples.reduce((sum, { repeated }) => sum + repeated, 0),
      disturbed: samples.length - quiet.length,
      areDisturbed: used.length > quiet.length
    }
  }
}
