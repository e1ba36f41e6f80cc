import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { BODY, KEY_HEADER } from './apps/shared.ts'
import { USES_DATABASE } from './apps/index.ts'
import type { Servers } from './apps/index.ts'
import type { LoadOrder, LoadReport } from './load.ts'
import { cpuOfChildren, disturbance, machineUsage } from './machine.ts'
import type { Disturbance } from './machine.ts'
import type { Mode, Traffic } from './modes.ts'
import { startServer } from './processes.ts'
import type { LoadProcess, ServerProcess } from './processes.ts'
import { difference, redisUsage } from './redis-usage.ts'

export interface Sample extends LoadReport {
  /** Microseconds of the server's CPU for each request. */
  cpu: number
  /** Microseconds of Redis's CPU for each request. */
  redisCpu: number
  /** Redis commands for each request, by name, including those that scripts call within Redis. */
  commands: Record<string, number>
  /** What else the machine did meanwhile. `null`: not known on this system. */
  disturbance: Disturbance | null
  /** The number of disturbed windows that this one replaces. */
  repeated: number
}

/** What all measurements of a run share. */
export interface Context {
  load: LoadProcess
  servers: Servers
  postgresPid: number
  /** The number of windows that may still be measured again because something else ran. */
  repeats: { left: number }
}

export interface Conditions extends Context {
  /** The number of requests of one window. */
  requests: number
  connections: number
  /** The number of keys that Redis has beside those of the requests. Default: none. */
  otherKeys?: number
}

/** The number of keys that replays use in turn. */
const POOL = 500
/** What a server is warmed up with, whatever the windows are like. */
const WARM_UP = { requests: 10_000, connections: 20 }
/** How often one window is measured at most. */
const TRIES = 3

const STATUSES: Record<Traffic, string[]> = {
  plain: ['200'], first: ['200'], replay: ['200'], cached: ['200'], conflict: ['409'], hot: ['200', '409']
}

let databases = 0

/**
 * One mode that is measured: a server process of its own, warmed up, and a Redis database of its own. Lanes stay open
 * side by side, so that their windows can take turns.
 */
export class Lane {
  readonly mode: Mode
  readonly #server: ServerProcess
  readonly #redis: Redis
  readonly #conditions: Conditions
  readonly #order: LoadOrder
  #windows = 0

  private constructor (mode: Mode, server: ServerProcess, redis: Redis, conditions: Conditions) {
    this.mode = mode
    this.#server = server
    this.#redis = redis
    this.#conditions = conditions
    const { requests, connections } = conditions
    const count = Math.max(connections, Math.round(requests * mode.share))
    const tag = randomUUID()
    this.#order = { url: server.url, requests: count, connections, key: `${tag}-#`, share: 1, keys: 0 }
    if (mode.traffic === 'hot') this.#order.share = connections
    if (this.#replays) this.#order.keys = Math.min(POOL, count)
    if (mode.traffic === 'conflict') this.#order.key = tag
  }

  get #replays (): boolean {
    return this.mode.traffic === 'replay' || this.mode.traffic === 'cached'
  }

  static async open (mode: Mode, conditions: Conditions): Promise<Lane> {
    // The first database is for everything else.
    const redisUrl = `${conditions.servers.redisUrl}/${++databases}`
    const redis = new Redis(redisUrl)
    await fill(redis, conditions.otherKeys ?? 0)
    const server = await startServer({ app: mode.app, work: mode.work, servers: { ...conditions.servers, redisUrl } })
    const lane = new Lane(mode, server, redis, conditions)
    if (mode.traffic === 'conflict') await lane.#takeKey()
    if (lane.#replays) await lane.#sendEachKey()
    const requests = Math.max(WARM_UP.connections, Math.round(WARM_UP.requests * mode.share))
    for (let i = 0; i < mode.warmUp; i++) await lane.#window({ requests, connections: WARM_UP.connections })
    return lane
  }

  /** One window of requests. It is measured again, as often as is allowed, if something else ran meanwhile. */
  async window (): Promise<Sample> {
    const { repeats } = this.#conditions
    let best = await this.#window()
    let tries = 1
    while (best.disturbance?.isDisturbed === true && tries < TRIES && repeats.left > 0) {
      repeats.left--
      tries++
      const again = await this.#window()
      if ((again.disturbance?.foreign ?? 0) < best.disturbance.foreign) best = again
    }
    return { ...best, repeated: tries - 1 }
  }

  async #window (changes: Partial<LoadOrder> = {}): Promise<Omit<Sample, 'repeated'>> {
    const { traffic, name, app } = this.mode
    const { postgresPid, load: sender, otherKeys } = this.#conditions
    const order = { ...this.#order, ...changes }
    // Keys that no earlier request used.
    if (traffic === 'first' || traffic === 'hot') order.key = `${++this.#windows}-${order.key}`
    // A process remembers an answer for seconds only, and other modes took their turns since.
    if (traffic === 'cached') await this.#sendEachKey()
    const postgresCpu = (): number => USES_DATABASE.has(app) ? cpuOfChildren(postgresPid) : 0
    const postgresBefore = postgresCpu()
    const before = await redisUsage(this.#redis)
    const machineBefore = machineUsage()
    const ownBefore = process.cpuUsage()
    await this.#server.begin()
    const load = await sender.send(order)
    const cpu = await this.#server.end()
    const used = difference(before, await redisUsage(this.#redis))
    const { user, system } = process.cpuUsage(ownBefore)
    const own = cpu + load.cpu + used.cpu + user + system + postgresCpu() - postgresBefore
    const others = disturbance(machineBefore, own)
    const unexpected = Object.keys(load.statuses).filter(status => !STATUSES[traffic].includes(status))
    if (unexpected.length > 0 || load.errors > 0) {
      throw new Error(`${name}: ${load.errors} errors and answers that should not be: ${JSON.stringify(load.statuses)}`)
    }
    // Large bodies would fill the memory.
    if ((traffic === 'first' || traffic === 'hot') && otherKeys === undefined) await this.#redis.flushdb()
    return {
      ...load,
      cpu: cpu / order.requests,
      redisCpu: used.cpu / order.requests,
      commands: Object.fromEntries(
        Object.entries(used.commands).map(([command, calls]) => [command, calls / order.requests])
      ),
      disturbance: others
    }
  }

  async #sendEachKey (): Promise<void> {
    await this.#conditions.load.send({ ...this.#order, requests: this.#order.keys })
  }

  async close (): Promise<void> {
    await this.#server.stop()
    await this.#redis.flushdb()
    this.#redis.disconnect()
  }

  /** Takes the key with a request whose handler runs until its server ends. */
  async #takeKey (): Promise<void> {
    const { url, key } = this.#order
    fetch(`${url}/pay`, {
      method: 'POST',
      body: BODY,
      headers: { 'content-type': 'application/json', [KEY_HEADER]: key }
    }).catch(() => {})
    for (let i = 0; i < 1_000; i++) {
      if (await this.#redis.dbsize() > 0) return
      await new Promise((resolve) => { setTimeout(resolve, 5) })
    }
    throw new Error('the key was never taken')
  }
}

/** The number of lanes that one run can open, for the setting `databases` of Redis. */
export const MAX_LANES = 500

/** Fills Redis with records like those of the plugin. Redis writes them itself. */
async function fill (redis: Redis, keys: number): Promise<void> {
  const record = `1s${'f'.repeat(43)}00000001200\ncontent-type:application/json; charset=utf-8\n\n${'x'.repeat(200)}`
  for (let from = 0; from < keys; from += 100_000) {
    await redis.eval(
      'for i = ARGV[1], ARGV[1] + ARGV[2] - 1 do ' +
        "redis.call('SET', 'idem:' .. string.format('%043d', i), ARGV[3], 'PX', 86400000) end",
      0,
      from,
      Math.min(100_000, keys - from),
      record
    )
  }
}
