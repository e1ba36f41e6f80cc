import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Servers } from './apps/index.ts'
import { BODY, KEY_HEADER } from './apps/shared.ts'
import type { LoadOrder, LoadReport } from './load.ts'
import type { Mode, Traffic } from './modes.ts'
import { sendLoad, startServer } from './processes.ts'
import { difference, redisUsage } from './redis-usage.ts'

export interface Sample extends LoadReport {
  /** Microseconds of the server's CPU a request. */
  cpu: number
  /** Microseconds of Redis's CPU a request. */
  redisCpu: number
  /** Redis commands a request, by name; those that scripts call within Redis included. */
  commands: Record<string, number>
}

export interface Conditions {
  redis: Redis
  servers: Servers
  requests: number
  connections: number
  /** Puts something into Redis before the window. */
  prepare?: (redis: Redis) => Promise<void>
}

/** How many keys replays and conflicts come back to. */
const POOL = 500

const STATUSES: Record<Traffic, string[]> = {
  plain: ['200'], first: ['200'], replay: ['200'], conflict: ['409'], hot: ['200', '409']
}

/** One server process of its own, warmed up, and one window of requests against it. */
export async function measure ({ name, app, traffic, work, share }: Mode, { redis, servers, requests, connections, prepare }: Conditions): Promise<Sample> {
  const count = Math.max(connections, Math.round(requests * share))
  await prepare?.(redis)
  const server = await startServer({ app, work, servers })
  try {
    const tag = `${name.replaceAll(' ', '-')}-${randomUUID()}`
    const order: LoadOrder = { url: server.url, requests: count, connections, key: `${tag}-#`, share: 1, keys: 0 }
    if (traffic === 'hot') order.share = connections
    if (traffic === 'replay') {
      order.keys = Math.min(POOL, count)
      await sendLoad({ ...order, requests: order.keys })
    }
    if (traffic === 'conflict') {
      order.key = tag
      await hold(server.url, tag, redis)
    }
    await sendLoad({ ...order, key: order.keys > 0 || traffic === 'conflict' ? order.key : `warm-${order.key}`, requests: Math.ceil(count / 3) })
    const before = await redisUsage(redis)
    await server.begin()
    const load = await sendLoad(order)
    const cpu = await server.end()
    const used = difference(before, await redisUsage(redis))
    const unexpected = Object.keys(load.statuses).filter(status => !STATUSES[traffic].includes(status))
    if (unexpected.length > 0 || load.errors > 0) throw new Error(`${name}: ${load.errors} errors and answers that should not be: ${JSON.stringify(load.statuses)}`)
    return {
      ...load,
      cpu: cpu / count,
      redisCpu: used.cpu / count,
      commands: Object.fromEntries(Object.entries(used.commands).map(([command, calls]) => [command, calls / count]))
    }
  } finally {
    await server.stop()
    await redis.flushall()
  }
}

/** Takes the key for a handler that does not end before its server does. */
async function hold (url: string, key: string, redis: Redis): Promise<void> {
  fetch(`${url}/pay`, { method: 'POST', body: BODY, headers: { 'content-type': 'application/json', [KEY_HEADER]: key } }).catch(() => {})
  for (let i = 0; i < 1_000; i++) {
    if (await redis.dbsize() > 0) return
    await new Promise((resolve) => { setTimeout(resolve, 5) })
  }
  throw new Error('the key was never taken')
}
