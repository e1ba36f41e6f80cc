import { setTimeout as delay } from 'node:timers/promises'
import { clock } from './clock.ts'
import { failCommits } from './commits.ts'
import { orderOf, outageOf, PROVIDER_FAULTS } from './faults.ts'
import type { Fault, FaultKind, LinkName, OutageOfRedis, ProviderFault } from './faults.ts'
import type { AppEvent, Strike } from './history.ts'
import { prepareOutage } from './redis-outages.ts'
import { STOPPED_FOR } from './settings.ts'
import type { World } from './world.ts'

/** The faults after which an app has to restart. */
const ENDS = new Set<FaultKind>(['app killed at random', 'app deployed while its client has left'])

/** Brings about the faults of the schedule. Each target has one fault at a time. */
export class Injector {
  readonly strikes: Strike[] = []
  readonly #world: () => World
  readonly #targets = new Map<string, Promise<void>>()
  readonly #failed: () => void
  #failure: Error | null = null

  /** @param failed called when a fault could not be started or ended: nothing after that is as it should be */
  constructor (world: () => World, failed: () => void) {
    this.#world = world
    this.#failed = failed
  }

  /**
   * Resolves when the fault has struck. A fault at a boundary strikes with the payment's own request: see `hear`.
   * @param prepare what has to be done before, as soon as the target has no other fault
   */
  async strike (fault: Fault, prepare = async (): Promise<void> => {}): Promise<void> {
    if (orderOf(fault) !== null) return this.#world().untilTwoAreUp()
    await new Promise<void>((resolve) => {
      this.#next(targetOf(fault), async () => {
        const world = this.#world()
        if (ENDS.has(fault.kind)) await Promise.all([world.apps[fault.app]?.up(), world.untilTwoAreUp()])
        const outage = outageOf(fault.kind) !== null && fault.kind.startsWith('Redis')
          ? await prepareOutage(world, fault.kind.slice('Redis '.length, fault.kind.indexOf(',')) as OutageOfRedis)
          : null
        await prepare()
        const strike = this.#record(fault.kind, hasApp(fault.kind) ? fault.app : null)
        resolve()
        await (outage === null ? this.#act(world, fault) : outage(() => delay(fault.milliseconds)))
        strike.until = clock()
      }, resolve)
    })
  }

  /** Hears what an app's preload reports: the app has struck itself. */
  hear (app: number, event: AppEvent): void {
    if (event.event !== 'struck') return
    if (event.action === 'kill') {
      this.strikes.push({ kind: `app killed ${event.boundary}`, app, at: event.at, until: event.at })
      return
    }
    const strike = this.#record('app stopped beyond its lease', app)
    // This does not wait for other faults of the app: a stopped process must continue before it can end.
    this.#next(`stopped app ${app}`, async () => {
      await delay(STOPPED_FOR)
      this.#world().apps[app]?.signal('SIGCONT')
      strike.until = clock()
    })
  }

  /**
   * Waits until all faults that last are over.
   * @throws what could not be started or ended
   */
  async calm (): Promise<void> {
    await Promise.all(this.#targets.values())
    if (this.#failure !== null) throw this.#failure
  }

  /** Runs the faults of each target one after the other. */
  #next (target: string, act: () => Promise<void>, failed: () => void = () => {}): void {
    const before = this.#targets.get(target) ?? Promise.resolve()
    this.#targets.set(target, before.then(act).catch((error: Error) => {
      this.#failure ??= error
      this.#failed()
      failed()
    }))
  }

  async #act (world: World, { kind, app, milliseconds }: Fault): Promise<void> {
    const lasting = (): Promise<void> => delay(milliseconds)
    switch (kind) {
      case 'app killed at random':
        world.apps[app]?.signal('SIGKILL')
        return
      case 'app deployed while its client has left':
        return world.apps[app]?.deploy()
      case 'app frozen beyond its lease':
        world.apps[app]?.signal('SIGSTOP')
        await delay(STOPPED_FOR)
        world.apps[app]?.signal('SIGCONT')
        return
      case 'Redis killed, back empty':
        return world.emptyRedis(lasting)
      case 'Redis frozen':
        world.redis.freeze()
        await lasting()
        world.redis.thaw()
        return
      case 'Postgres crashed and restarted':
        return world.postgres.restart()
      case 'Postgres fails to commit, for less than a lease':
      case 'Postgres fails to commit, for longer than a lease':
        return failCommits(world.postgres.url, lasting)
      default: {
        const link = /^link to (\w+) (cut|stalled)$/.exec(kind)
        if (link === null) {
          return world.provider.fault({ kind: PROVIDER_FAULTS[kind as ProviderFault], delayMs: milliseconds })
        }
        const proxy = world.links[app]?.[link[1] as LinkName]
        if (link[2] === 'cut') proxy?.cut()
        else proxy?.stall()
        await lasting()
        proxy?.heal()
      }
    }
  }

  #record (kind: FaultKind, app: number | null): Strike {
    const strike = { kind, app, at: clock(), until: Infinity }
    this.strikes.push(strike)
    return strike
  }
}

/** The fault strikes one app, or one of its links. */
function hasApp (kind: FaultKind): boolean {
  return kind.startsWith('app') || kind.startsWith('link')
}

function targetOf ({ kind, app }: Fault): string {
  if (kind.startsWith('Redis')) return 'Redis'
  if (kind.startsWith('Postgres')) return 'Postgres'
  if (kind.startsWith('provider')) return 'provider'
  if (kind.startsWith('link')) return `${kind.replace(/ \w+$/, '')} of app ${app}`
  return `app ${app}`
}
