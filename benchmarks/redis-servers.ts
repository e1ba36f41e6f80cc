import { Redis } from 'ioredis'
import { redisServer } from '../test/servers/binaries.ts'
import { unpacked, VALKEY_8 } from '../test/servers/debian.ts'
import { startRedis } from '../test/servers/redis.ts'
import type { RedisServer } from '../test/servers/redis.ts'
import { hasNativeCompareAndSet } from './apps/floor.ts'
import type { CompareAndSet } from './apps/floor.ts'
import { atMost, shown } from './goals.ts'
import type { Goal } from './goals.ts'
import { Lane, MAX_LANES } from './lane.ts'
import type { Context, Sample } from './lane.ts'
import { mode, modeOf } from './modes.ts'
import type { Mode } from './modes.ts'
import { table } from './report.ts'
import { summarize } from './statistics.ts'

/*
 * What a request costs on other servers than the machine's own. They come from the packages of newer Debian releases,
 * which are unpacked into the temporary directory and not installed.
 */

type Packaged = Parameters<typeof unpacked>[0]
/** The path of a server's program. `null`: it is not available on this machine. */
type Binary = () => string | null

const REDIS_8: Packaged = {
  ...VALKEY_8,
  packages: VALKEY_8.packages.map(name => name.replace(/^valkey-/, 'redis-')),
  program: 'usr/bin/redis-server'
}
const VALKEY_9: Packaged = { ...VALKEY_8, suite: 'forky' }

const valkey8: Binary = () => unpacked(VALKEY_8)

/** The machine's own Redis, Redis 8.0, Valkey 8.1 and Valkey 9. */
export const ALL_SERVERS: Binary[] = [redisServer, () => unpacked(REDIS_8), valkey8, () => unpacked(VALKEY_9)]
/** The server that the goal is about: the first one with a native compare-and-set. */
export const GOAL_SERVERS: Binary[] = [valkey8]

export interface ServerFigures {
  server: string
  mode: string
  /** How a first run is completed. `null`: the mode completes nothing. */
  way: CompareAndSet | null
  /** Microseconds for each request. */
  redisCpu: number
  cpu: number
  isDisturbed: boolean
}

function modesOf (isNative: boolean): Mode[] {
  return [
    modeOf('floor first'),
    ...(isNative ? [mode({ subject: 'floor', app: 'floor by script', traffic: 'first' })] : []),
    modeOf('plugin first'),
    ...(isNative ? [mode({ subject: 'plugin', app: 'plugin by script', traffic: 'first' })] : []),
    modeOf('floor replay'),
    modeOf('plugin replay')
  ]
}

interface Measured {
  server: string
  lane: Lane
  samples: Sample[]
}

/** All lanes of all servers take turns, as the modes of the main benchmark do. */
export async function measureServers (
  binaries: Binary[],
  rounds: number,
  context: Context,
  progress: (text: string) => void
): Promise<ServerFigures[]> {
  const running: RedisServer[] = []
  const lanes: Measured[] = []
  try {
    for (const binary of binaries.map(locate => locate())) {
      if (binary === null) {
        progress('a server is not available on this machine')
        continue
      }
      const redis = await startRedis({ binary, args: ['--databases', String(MAX_LANES)] })
      running.push(redis)
      const { name, isNative } = await describe(redis.url)
      for (const mode of modesOf(isNative)) {
        const lane = await Lane.open(mode, {
          ...context, servers: { ...context.servers, redisUrl: redis.url }, requests: 10_000, connections: 20
        })
        lanes.push({ server: name, lane, samples: [] })
        progress(`${name}: ${mode.name} is warm`)
      }
    }
    for (let round = 1; round <= rounds; round++) {
      for (const { server, lane, samples } of lanes) {
        samples.push(await lane.window())
        progress(`round ${round}/${rounds}: ${server}, ${lane.mode.name}`)
      }
    }
  } finally {
    await Promise.all(lanes.map(({ lane }) => lane.close()))
    await Promise.all(running.map(server => server.stop()))
  }
  return lanes.map(({ server, lane: { mode: { name, traffic } }, samples }) => {
    const { best, commands, windows } = summarize(samples)
    const way = traffic !== 'first' ? null : (commands.evalsha ?? 0) > 0.5 ? 'script' : 'native'
    return { server, mode: name, way, redisCpu: best.redisCpu, cpu: best.cpu, isDisturbed: windows.areDisturbed }
  })
}

async function describe (url: string): Promise<{ name: string, isNative: boolean }> {
  const redis = new Redis(url)
  try {
    const info = await redis.info('server')
    const valkey = /^valkey_version:(.+)\r$/m.exec(info)?.[1]
    const name = valkey === undefined ? `Redis ${/^redis_version:(.+)\r$/m.exec(info)?.[1]}` : `Valkey ${valkey}`
    return { name, isNative: await hasNativeCompareAndSet(redis) }
  } finally {
    redis.disconnect()
  }
}

/** The goals of the servers that have a native compare-and-set. */
export function serverGoals (figures: ServerFigures[]): Goal[] {
  const native = figures.filter(({ way }) => way === 'native').map(({ server }) => server)
  return [...new Set(native)].flatMap((server) => {
    const ratio = (mode: string): number => {
      const cost = (way: CompareAndSet): number =>
        figures.find(entry => entry.server === server && entry.mode === mode && entry.way === way)?.redisCpu ?? NaN
      return cost('native') / cost('script')
    }
    return [
      atMost(0.65, `Redis CPU of a first run on ${server}, native compare-and-set, against the script`,
        ratio('plugin first')),
      shown('the same for the floor', ratio('floor first'))
    ]
  })
}

export function serversTable (figures: ServerFigures[]): string {
  return table(
    ['server', 'mode', 'compare-and-set', 'Redis µs', 'CPU µs', ''],
    figures.map(({ server, mode, way, redisCpu, cpu, isDisturbed }) => [
      server, mode, way ?? '', redisCpu.toFixed(1), cpu.toFixed(1), isDisturbed ? 'disturbed' : ''
    ])
  )
}
