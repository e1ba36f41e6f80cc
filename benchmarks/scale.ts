import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Servers } from './apps/index.ts'
import { BODY, KEY_HEADER } from './apps/shared.ts'
import type { Work } from './apps/shared.ts'
import { atMost, shown } from './goals.ts'
import type { Goal } from './goals.ts'
import { Lane } from './lane.ts'
import type { Context, Sample } from './lane.ts'
import { modeOf } from './modes.ts'
import type { Mode } from './modes.ts'
import { startLoad, startServer } from './processes.ts'
import type { ServerProcess } from './processes.ts'
import { difference, redisUsage } from './redis-usage.ts'
import { table } from './report.ts'
import { median, quantile, summarize } from './statistics.ts'

export interface Scale {
  /** Microseconds of CPU for each request, of the server and of Redis, with this many other keys. */
  keys: Array<{ keys: number, traffic: string, cpu: number, redisCpu: number }>
  /** The same with this many server processes under load at once. */
  processes: Array<{ processes: number, traffic: string, cpu: number, throughput: number, p99: number }>
  connections: Array<{
    connections: number,
    traffic: string,
    cpu: number,
    throughput: number,
    p50: number,
    p99: number
  }>
  /** Bytes of Redis's memory for each key, beyond status, headers and body. */
  overhead: { mean: number, least: number, most: number }
  /** Milliseconds. */
  wakeUp: { p50: number, p99: number, roundTrip: number }
  waiters: Array<{ processes: number, waiters: number, runs: number, commands: number }>
}

const WORK: Work = { size: 200, payload: 'json', takes: 0 }
/** Rounds with other keys in Redis. */
const ROUNDS = 9

export async function measureScale (context: Context, progress: (text: string) => void): Promise<Scale> {
  const { servers } = context
  const redis = new Redis(servers.redisUrl)
  const scale: Scale = {
    keys: [],
    processes: [],
    connections: [],
    overhead: await overhead(redis, servers),
    wakeUp: await wakeUp(redis, servers),
    waiters: []
  }
  progress('memory and wake-ups measured')
  for (const processes of [1, 2]) {
    for (const waiters of [100, 1_000]) scale.waiters.push(await waiting(redis, servers, processes, waiters))
  }
  redis.disconnect()
  progress('waiters counted')
  for (const traffic of ['first', 'replay']) {
    const mode = { ...modeOf(`plugin ${traffic}`), share: 1 }
    scale.keys.push(...await measureKeys(mode, context, progress))
    scale.processes.push(...await measureProcesses(mode, context, progress))
    for (const connections of [1, 10, 100, 500]) {
      const lane = await Lane.open(mode, { ...context, requests: connections === 1 ? 3_000 : 12_000, connections })
      const { cpu, throughput, p50, p99 } = await lane.window()
      await lane.close()
      scale.connections.push({ connections, traffic, cpu, throughput, p50, p99 })
      progress(`${traffic} over ${connections} connections`)
    }
  }
  return scale
}

async function measureKeys (
  mode: Mode,
  context: Context,
  progress: (text: string) => void
): Promise<Scale['keys']> {
  const lanes: Array<{ keys: number, lane: Lane, samples: Sample[] }> = []
  for (const keys of [0, 100_000, 1_000_000]) {
    lanes.push({
      keys,
      lane: await Lane.open(mode, { ...context, requests: 12_000, connections: 20, otherKeys: keys }),
      samples: []
    })
  }
  for (let round = 1; round <= ROUNDS; round++) {
    for (const { keys, lane, samples } of lanes) {
      samples.push(await lane.window())
      progress(`round ${round}/${ROUNDS}: ${mode.name} with ${keys} other keys`)
    }
  }
  await Promise.all(lanes.map(({ lane }) => lane.close()))
  return lanes.map(({ keys, samples }) => {
    const { best: { cpu, redisCpu } } = summarize(samples)
    return { keys, traffic: mode.traffic, cpu, redisCpu }
  })
}

async function pay (url: string, key: string): Promise<Response> {
  return fetch(`${url}/pay`, {
    method: 'POST',
    body: BODY,
    headers: { 'content-type': 'application/json', [KEY_HEADER]: key }
  })
}

/** A second server gets a second process that sends requests. */
async function measureProcesses (
  mode: Mode,
  context: Context,
  progress: (text: string) => void
): Promise<Scale['processes']> {
  const secondLoad = startLoad()
  const lanes: Lane[] = []
  // Each of two processes would take the other one for a disturbance, so nothing is measured again.
  for (const load of [context.load, secondLoad]) {
    lanes.push(await Lane.open(mode, { ...context, load, repeats: { left: 0 }, requests: 12_000, connections: 20 }))
  }
  const measured: Scale['processes'] = []
  for (const processes of [1, 2]) {
    const samples = await Promise.all(lanes.slice(0, processes).map(lane => lane.window()))
    measured.push({
      processes,
      traffic: mode.traffic,
      cpu: samples.reduce((sum, { cpu }) => sum + cpu, 0) / processes,
      throughput: samples.reduce((sum, { throughput }) => sum + throughput, 0),
      p99: Math.max(...samples.map(({ p99 }) => p99))
    })
    progress(`${mode.name} with ${processes} server processes`)
  }
  await Promise.all(lanes.map(lane => lane.close()))
  await secondLoad.stop()
  return measured
}

/** The bodies have many sizes, since Redis's allocator rounds up. */
async function overhead (redis: Redis, servers: Servers): Promise<Scale['overhead']> {
  const values: number[] = []
  for (let size = 150; size <= 250; size += 10) {
    const server = await startServer({ app: 'plugin', work: { ...WORK, size }, servers })
    const response = await pay(server.url, randomUUID())
    const body = Buffer.from(await response.arrayBuffer())
    const headers = 'content-type'.length + (response.headers.get('content-type') ?? '').length
    const [key = ''] = await redis.keys('idem:*')
    values.push(Number(await redis.call('MEMORY', 'USAGE', key)) - '200'.length - headers - body.length)
    await server.stop()
    await redis.flushdb()
  }
  return {
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    least: Math.min(...values),
    most: Math.max(...values)
  }
}

async function waitingServers (servers: Servers, processes: number, takes: number): Promise<ServerProcess[]> {
  return Promise.all(
    Array.from({ length: processes }, () => startServer({ app: 'plugin wait', work: { ...WORK, takes }, servers }))
  )
}

/** How much later a waiter in another process gets its answer than the owner's client. */
async function wakeUp (redis: Redis, servers: Servers): Promise<Scale['wakeUp']> {
  const [owner, other] = await waitingServers(servers, 2, 30) as [ServerProcess, ServerProcess]
  const late: number[] = []
  const roundTrips: number[] = []
  for (let i = 0; i < 330; i++) {
    const key = randomUUID()
    const first = pay(owner.url, key).then(async (response) => {
      await response.arrayBuffer()
      return performance.now()
    })
    while (await redis.dbsize() === 0);
    const second = pay(other.url, key).then(async (response) => {
      await response.arrayBuffer()
      return performance.now()
    })
    const [answered, woken] = await Promise.all([first, second])
    const asked = performance.now()
    await redis.flushdb()
    if (i < 30) continue
    late.push(woken - answered)
    roundTrips.push(performance.now() - asked)
  }
  await Promise.all([owner.stop(), other.stop()])
  return { p50: median(late), p99: quantile(late, 0.99), roundTrip: median(roundTrips) }
}

async function waiting (
  redis: Redis,
  servers: Servers,
  processes: number,
  waiters: number
): Promise<Scale['waiters'][number]> {
  const apps = await waitingServers(servers, processes, 2_000)
  const key = randomUUID()
  // Each process opens the connection that wakes its waiters. That connection is not counted.
  const before = await redisUsage(redis)
  const answers = await Promise.all(Array.from({ length: waiters }, async (_, i) => {
    const response = await pay(apps[i % processes]?.url ?? '', key)
    await response.arrayBuffer()
    if (response.status !== 200) throw new Error(`a waiter was answered ${response.status}`)
    return response.headers.get('idempotent-replayed')
  }))
  const { commands } = difference(before, await redisUsage(redis))
  await Promise.all(apps.map(app => app.stop()))
  await redis.flushdb()
  const sent = ['set', 'evalsha', 'eval', 'subscribe'].reduce((sum, name) => sum + (commands[name] ?? 0), 0)
  return { processes, waiters, runs: answers.filter(replayed => replayed === null).length, commands: sent }
}

export function scaleGoals ({ keys, overhead, wakeUp, waiters }: Scale): Goal[] {
  const at = (traffic: string, count: number): Scale['keys'][number] | undefined =>
    keys.find(entry => entry.traffic === traffic && entry.keys === count)
  const growth = (traffic: string, part: 'cpu' | 'redisCpu'): number =>
    (at(traffic, 1_000_000)?.[part] ?? NaN) / (at(traffic, 0)?.[part] ?? NaN)
  const commandsOf = (count: number): number =>
    waiters.find(entry => entry.processes === 1 && entry.waiters === count)?.commands ?? NaN
  return [
    atMost(150, 'Redis memory a key beyond status, headers and body', overhead.mean, ' B'),
    atMost(1.05, 'CPU of a first run at 1 million keys, against none', growth('first', 'cpu')),
    shown('Redis\'s own CPU of it', growth('first', 'redisCpu')),
    atMost(1.05, 'CPU of a replay at 1 million keys, against none', growth('replay', 'cpu')),
    shown('Redis\'s own CPU of it', growth('replay', 'redisCpu')),
    atMost(5, 'a waiter\'s wake-up in another process, p99, less 2 round trips',
      wakeUp.p99 - 2 * wakeUp.roundTrip, ' ms'),
    atMost(1, 'runs with 1,000 waiters on one key', Math.max(...waiters.map(({ runs }) => runs)), ''),
    atMost(1.5, 'Redis commands with 1,000 waiters, against 100', commandsOf(1_000) / commandsOf(100))
  ]
}

export function scaleTables ({ keys, processes, connections, overhead, wakeUp, waiters }: Scale): string[] {
  return [
    table(
      ['other keys', 'traffic', 'CPU µs', 'Redis µs'],
      keys.map(({ keys, traffic, cpu, redisCpu }) => [String(keys), traffic, cpu.toFixed(1), redisCpu.toFixed(1)])
    ),
    table(
      ['server processes', 'traffic', 'CPU µs', 'requests/s', 'p99 ms'],
      processes.map(({ processes, traffic, cpu, throughput, p99 }) => [
        String(processes), traffic, cpu.toFixed(1), throughput.toFixed(0), p99.toFixed(2)
      ])
    ),
    table(
      ['connections', 'traffic', 'CPU µs', 'requests/s', 'p50 ms', 'p99 ms'],
      connections.map(({ connections, traffic, cpu, throughput, p50, p99 }) => [
        String(connections), traffic, cpu.toFixed(1), throughput.toFixed(0), p50.toFixed(2), p99.toFixed(2)
      ])
    ),
    table(
      ['waiters on one key', 'processes', 'runs', 'Redis commands'],
      waiters.map(({ waiters, processes, runs, commands }) => [
        String(waiters), String(processes), String(runs), String(commands)
      ])
    ),
    `A waiter in another process is answered ${wakeUp.p50.toFixed(1)} ms (p50), ${wakeUp.p99.toFixed(1)} ms (p99) ` +
      `after the owner's client; a round trip to Redis is ${wakeUp.roundTrip.toFixed(2)} ms.`,
    `Redis keeps ${overhead.mean.toFixed(0)} bytes a key beyond status, headers and body ` +
      `(${overhead.least} to ${overhead.most}: its allocator rounds up).`
  ]
}
