import { until } from '../helper.ts'
import { startPostgres } from '../servers/postgres.ts'
import type { PostgresServer } from '../servers/postgres.ts'
import { startRedis } from '../servers/redis.ts'
import type { RedisServer } from '../servers/redis.ts'
import { App, TIME_TO_START } from './app.ts'
import { prepareCommits } from './commits.ts'
import { LINKS } from './faults.ts'
import type { LinkName } from './faults.ts'
import type { AppEvent } from './history.ts'
import { Proxy } from './proxy.ts'
import { SandboxProvider } from './sandbox-provider.ts'
import { LEASE, PROVIDER_TIMEOUT, SWEEP_AFTER } from './settings.ts'

/** With these arguments Redis still has all that it acknowledged after it ended, however it ended. */
export const REDIS_ARGUMENTS = ['--appendonly', 'yes', '--appendfsync', 'always', '--repl-diskless-sync-delay', '0']

export interface WorldOptions {
  apps: number
  seed: number
  /** The directory that `build` made. */
  directory: string
  onEvent: (app: number, event: AppEvent) => void
}

/** The servers that the links of the apps lead to. They belong to this run. */
export class World {
  readonly apps: App[] = []
  /** The links of each app. */
  readonly links: Array<Record<LinkName, Proxy>> = []
  redis!: RedisServer
  postgres!: PostgresServer
  provider!: SandboxProvider
  readonly #closing: Array<() => Promise<unknown>> = []
  #restarts = 0

  static async start (options: WorldOptions): Promise<World> {
    const world = new World()
    try {
      await world.#start(options)
      return world
    } catch (error) {
      await world.close()
      throw error
    }
  }

  async #start ({ apps, seed, directory, onEvent }: WorldOptions): Promise<void> {
    await Promise.all([
      this.#own(startRedis({ args: REDIS_ARGUMENTS }), (redis) => { this.redis = redis }, () => this.redis.stop()),
      this.#own(startPostgres(), (postgres) => { this.postgres = postgres }, () => this.postgres.stop()),
      this.#own(
        SandboxProvider.start({ directory, seed }),
        (provider) => { this.provider = provider },
        () => this.provider.close()
      )
    ])
    const ports: Record<LinkName, () => number> = {
      Redis: () => this.redis.port,
      Postgres: () => Number(new URL(this.postgres.url).port),
      provider: () => this.provider.port
    }
    for (let index = 0; index < apps; index++) {
      const links = {} as Record<LinkName, Proxy>
      for (const name of LINKS) {
        const proxy = links[name] = await Proxy.listen(ports[name])
        this.#closing.push(() => proxy.close())
      }
      this.links.push(links)
      const app = new App(index, {
        directory,
        script: 'app.mjs',
        env: {
          REDIS_URL: `redis://127.0.0.1:${links.Redis.port}`,
          DATABASE_URL: `postgres://postgres@127.0.0.1:${links.Postgres.port}/postgres`,
          PROVIDER_URL: `http://127.0.0.1:${links.provider.port}`,
          PROVIDER_TIMEOUT_MS: String(PROVIDER_TIMEOUT),
          IDEMPOTENCY_LEASE_MS: String(LEASE),
          SWEEP_AFTER_MS: String(SWEEP_AFTER),
          LOG_LEVEL: 'silent'
        },
        onEvent: event => onEvent(index, event)
      })
      this.apps.push(app)
      this.#closing.push(() => app.close())
    }
    await Promise.all(this.apps.map(app => app.up()))
    await prepareCommits(this.postgres.url)
  }

  /** Call it before one more app is struck: payments continue, if slowly, as long as one app is left. */
  async untilTwoAreUp (): Promise<void> {
    await until(() => this.apps.filter(({ isUp }) => isUp).length >= 2, 'two apps listen', TIME_TO_START)
  }

  /** Redis ends as in a crash, and a new empty one takes its place. */
  async emptyRedis (pause: () => Promise<void> = async () => {}): Promise<void> {
    await this.redis.kill()
    await pause()
    this.redis = await startRedis({ args: REDIS_ARGUMENTS })
  }

  /** Redis ends, in turn as in a crash and in good order, and comes back with all data that it had. */
  async restartRedis (pause: () => Promise<void>): Promise<void> {
    const { directory } = this.redis
    await (this.#restarts++ % 2 === 0 ? this.redis.kill({ keepData: true }) : this.redis.stop({ keepData: true }))
    await pause()
    this.redis = await startRedis({ args: REDIS_ARGUMENTS, directory })
  }

  /** Stops the servers from the last to the first. */
  async close (): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close()
  }

  async #own<T> (started: Promise<T>, keep: (it: T) => void, close: () => Promise<unknown>): Promise<void> {
    keep(await started)
    this.#closing.push(close)
  }
}
