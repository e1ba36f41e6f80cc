import { PEERS } from './apps/index.ts'
import type { Figures } from './statistics.ts'

export interface Goal {
  what: string
  /** The measured value; NaN if the modes that it compares did not run. */
  value: number
  limit: number
  unit: string
}

export function isMet ({ value, limit }: Goal): boolean {
  return value <= limit
}

type Results = Record<string, Figures>

/**
 * Microseconds of CPU that a mode adds to another one, from the windows that were disturbed least: whatever disturbs a
 * window (another process on the machine, a server that was idle) can only add to it.
 */
export function addedTo (bare: Figures | undefined, mode: Figures | undefined): number {
  return (mode?.spread[0] ?? NaN) - (bare?.spread[0] ?? NaN)
}

/** Ratios within one run: the speed of the machine on that day cancels out. */
export function goalsOf (results: Results): Goal[] {
  const added = (mode: string): number => addedTo(results.bare, results[mode])
  const cheapest = (traffic: string): number =>
    Math.min(...PEERS.map(peer => added(`${peer} ${traffic}`)).filter(cost => !Number.isNaN(cost)))
  const trips = (mode: string): number => {
    const commands = results[mode]?.commands
    return commands === undefined ? NaN : roundTrips(commands)
  }
  return [
    {
      what: 'CPU added by a first run, against the floor',
      value: added('plugin first') / added('floor first'),
      limit: 1.10,
      unit: '×'
    },
    {
      what: 'CPU added by a replay, against the floor',
      value: added('plugin replay') / added('floor replay'),
      limit: 1.10,
      unit: '×'
    },
    {
      what: 'CPU added to an unprotected route, against bare',
      value: added('idle') / (results.bare?.spread[0] ?? NaN),
      limit: 0.02,
      unit: '×'
    },
    {
      what: 'CPU added by a first run, against the cheapest peer',
      value: added('plugin first') / cheapest('first'),
      limit: 1,
      unit: '×'
    },
    {
      what: 'CPU added by a replay, against the cheapest peer',
      value: added('plugin replay') / cheapest('replay'),
      limit: 0.5,
      unit: '×'
    },
    { what: 'round trips of a first run', value: trips('plugin first'), limit: 2, unit: '' },
    { what: 'round trips of a replay', value: trips('plugin replay'), limit: 1, unit: '' },
    { what: 'round trips of a conflict', value: trips('plugin conflict'), limit: 2, unit: '' },
    { what: 'round trips of an unprotected request', value: trips('idle'), limit: 0, unit: '' },
    {
      what: 'Redis CPU of a replay, against the floor\'s plain SET … NX GET',
      value: (results['plugin replay']?.redisCpu ?? NaN) / (results['floor replay']?.redisCpu ?? NaN),
      limit: 1.2,
      unit: '×'
    }
  ]
}

/** Commands that a client sends once for each connection, and those that the benchmark sends. */
const ASIDE = new Set([
  'hello', 'auth', 'select', 'client|setinfo', 'client|setname', 'ping', 'info', 'flushdb', 'config|get',
  'script|load', 'eval', 'subscribe', 'dbsize'
])
/** Commands that only scripts call. */
const WITHIN_SCRIPTS = new Set(['getrange', 'setrange', 'pexpire', 'pttl', 'publish'])

/**
 * Commands that clients send for each request. Redis also counts the commands that scripts call, which do not travel
 * over the network: each call of the plugin runs GET, and either SET or PTTL; each call of the floor runs GETRANGE and
 * SET.
 */
export function roundTrips (commands: Record<string, number>): number {
  let sent = 0
  for (const [name, calls] of Object.entries(commands)) if (!ASIDE.has(name) && !WITHIN_SCRIPTS.has(name)) sent += calls
  const { evalsha = 0, getrange = 0, pttl = 0 } = commands
  const own = Math.max(0, evalsha - getrange)
  return Math.round((sent - getrange - own - (own - pttl)) * 100) / 100
}
