import { PEERS } from './apps/index.ts'
import type { Figures } from './statistics.ts'

export interface Goal {
  what: string
  /** The measured value; NaN if the modes that it compares did not run. */
  value: number
  limit: number
  /** `shown`: there is no limit. */
  kind: 'at most' | 'at least' | 'shown'
  unit: string
}

export function isMet ({ value, limit, kind }: Goal): boolean {
  return kind === 'at least' ? value >= limit : value <= limit
}

export function atMost (limit: number, what: string, value: number, unit = '×'): Goal {
  return { what, value, limit, kind: 'at most', unit }
}

export function atLeast (limit: number, what: string, value: number, unit = '×'): Goal {
  return { what, value, limit, kind: 'at least', unit }
}

export function shown (what: string, value: number, unit = '×'): Goal {
  return { what, value, limit: NaN, kind: 'shown', unit }
}

type Results = Record<string, Figures>

/** Microseconds of CPU that a mode adds to another one, from the windows that were disturbed least. */
export function addedTo (bare: Figures | undefined, mode: Figures | undefined): number {
  return (mode?.best.cpu ?? NaN) - (bare?.best.cpu ?? NaN)
}

/** Ratios within one run: the speed of the machine on that day cancels out. */
export function goalsOf (results: Results): Goal[] {
  const added = (mode: string): number => addedTo(results.bare, results[mode])
  const ofPeers = (traffic: string, pick: (figures: Figures) => number): number[] =>
    PEERS.flatMap((peer) => {
      const figures = results[`${peer} ${traffic}`]
      return figures === undefined ? [] : [pick(figures)]
    })
  const cheapest = (traffic: string): number =>
    least(ofPeers(traffic, figures => addedTo(results.bare, figures)))
  const throughput = (traffic: string): number =>
    (results[`plugin ${traffic}`]?.best.throughput ?? NaN) /
      -least(ofPeers(traffic, ({ best }) => -best.throughput))
  const p99 = (traffic: string): number =>
    (results[`plugin ${traffic}`]?.best.p99 ?? NaN) / least(ofPeers(traffic, ({ best }) => best.p99))
  const trips = (mode: string): number => {
    const commands = results[mode]?.commands
    return commands === undefined ? NaN : roundTrips(commands)
  }
  return [
    atMost(0.9, 'CPU added by a first run, against the cheapest peer', added('plugin first') / cheapest('first')),
    atMost(1.25, 'CPU added by a first run, against the floor', added('plugin first') / added('floor first')),
    atMost(0.55, 'CPU added by a replay over Redis, against the cheapest peer',
      added('plugin replay') / cheapest('replay')),
    atMost(1.25, 'CPU added by a replay over Redis, against the floor',
      added('plugin replay') / added('floor replay')),
    atMost(0.25, 'CPU added by a cached replay (no round trip), against the cheapest peer',
      added('plugin replay cached') / cheapest('replay')),
    atMost(0, 'round trips of a cached replay', trips('plugin replay cached'), ''),
    atLeast(1, 'requests a second, first runs, against the fastest peer', throughput('first')),
    atLeast(1.25, 'requests a second, replays over Redis, against the fastest peer', throughput('replay')),
    atMost(1, 'p99 at 20 connections, first runs, against the best peer', p99('first')),
    atMost(1, 'p99 at 20 connections, replays over Redis, against the best peer', p99('replay')),
    atMost(1.02, 'CPU of an unprotected route, against bare',
      (results.idle?.best.cpu ?? NaN) / (results.bare?.best.cpu ?? NaN)),
    atMost(2, 'round trips of a first run', trips('plugin first'), ''),
    atMost(1, 'round trips of a replay over Redis', trips('plugin replay'), ''),
    atMost(2, 'round trips of a conflict', trips('plugin conflict'), ''),
    atMost(0, 'round trips of an unprotected request', trips('idle'), ''),
    atMost(1.2, 'Redis CPU of a replay, against the floor\'s plain SET … NX GET',
      (results['plugin replay']?.best.redisCpu ?? NaN) / (results['floor replay']?.best.redisCpu ?? NaN)),
    atMost(0.5, 'CPU added by a first run on MemoryStore with 100,000 live keys, against the plugin on Redis',
      added('memory first') / added('plugin first'))
  ]
}

function least (values: number[]): number {
  return values.length === 0 ? NaN : Math.min(...values)
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
 * over the network: each call of a script of the plugin or of the floor runs GET, and either SET or PTTL.
 */
export function roundTrips (commands: Record<string, number>): number {
  let sent = 0
  for (const [name, calls] of Object.entries(commands)) if (!ASIDE.has(name) && !WITHIN_SCRIPTS.has(name)) sent += calls
  const { evalsha = 0, getrange = 0, pttl = 0 } = commands
  const own = Math.max(0, evalsha - getrange)
  return Math.round((sent - getrange - own - (own - pttl)) * 100) / 100
}
