import { readdirSync, readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

/*
 * What else the machine does. Linux counts, for each core, the time that it was idle, and the time that the hypervisor
 * gave to other machines. What is left of the idle time's complement, without the CPU time of the benchmark's own
 * processes, was used by others.
 */

const CORES = cpus().length
/** Microseconds of one tick of the counters in /proc. */
const TICK = 10_000

/** The totals of all cores since an unknown time, in microseconds. */
export interface MachineUsage {
  at: number
  idle: number
  stolen: number
}

/** `null` on other systems than Linux. */
export function machineUsage (): MachineUsage | null {
  let stat
  try {
    stat = readFileSync('/proc/stat', 'latin1')
  } catch {
    return null
  }
  const counters = /^cpu +(.+)$/m.exec(stat)?.[1]?.split(' ').map(Number) ?? []
  const [, , , idle = NaN, ioWait = NaN, , , stolen = 0] = counters
  return { at: performance.now() * 1_000, idle: (idle + ioWait) * TICK, stolen: stolen * TICK }
}

export interface Disturbance {
  /** The CPU that others used, with the stolen time, as a share of one core. */
  foreign: number
  /** The CPU that the hypervisor gave to other machines, as a share of one core. */
  stolen: number
  isDisturbed: boolean
}

/** Others may use as much of one core as this. Kernel threads and the machine's own services need some of it. */
const LIMIT = 0.05
/** The counters of each core have an error of one tick. */
const ERROR = CORES * TICK

/** @param own microseconds of CPU that the processes of the benchmark used since `before` */
export function disturbance (before: MachineUsage | null, own: number): Disturbance | null {
  const after = machineUsage()
  if (before === null || after === null) return null
  const duration = after.at - before.at
  const busy = duration * CORES - (after.idle - before.idle)
  return {
    foreign: Math.max(0, (busy - own) / duration),
    stolen: (after.stolen - before.stolen) / duration,
    isDisturbed: busy - own > LIMIT * duration + ERROR
  }
}

/** Microseconds of CPU that the children of a process used, and the process itself for children that ended. */
export function cpuOfChildren (parent: number): number {
  let ticks = 0
  for (const name of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      // The name of the program, which may contain spaces, ends with the last parenthesis.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number)
      const [, ppid] = fields
      const [user = 0, system = 0, ofChildrenUser = 0, ofChildrenSystem = 0] = fields.slice(11, 15)
      if (ppid === parent) ticks += user + system
      if (Number(name) === parent) ticks += user + system + ofChildrenUser + ofChildrenSystem
    } catch {
      // The process has ended.
    }
  }
  return ticks * TICK
}

export interface MachineReport {
  node: string
  cpu: string
  cores: number
  /** The load averages of 1, 5 and 15 minutes before the run. */
  load: number[]
  /** The CPU that others used in the second before the run, as a share of one core. `null`: not known. */
  foreign: number | null
  stolen: number | null
}

/** Looks at the machine for a second in which the benchmark does nothing. */
export async function describeMachine (): Promise<MachineReport> {
  const before = machineUsage()
  const began = process.cpuUsage()
  await delay(1_000)
  const { user, system } = process.cpuUsage(began)
  const found = disturbance(before, user + system)
  return {
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: CORES,
    load: loadavg(),
    foreign: found?.foreign ?? null,
    stolen: found?.stolen ?? null
  }
}

export function machineText ({ node, cpu, cores, load, foreign, stolen }: MachineReport): string {
  const others = foreign === null || stolen === null
    ? 'what other processes use is not known on this system, so no window is marked as disturbed'
    : `other processes use ${percent(foreign)} of a core, of which the hypervisor takes ${percent(stolen)}`
  return `Node.js ${node} on ${cores} × ${cpu}; load before the run ` +
    `${load.map(value => value.toFixed(2)).join(', ')}; ${others}.`
}

export function percent (share: number): string {
  return `${(share * 100).toFixed(0)} %`
}
