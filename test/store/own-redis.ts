import { rmSync } from 'node:fs'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { freePort } from '../servers/port.ts'
import { startRedis } from '../servers/redis.ts'
import type { RedisServer } from '../servers/redis.ts'

export interface OwnRedis {
  port: number
  url: string
  start (): Promise<void>
  stop (): Promise<void>
  /** How often each command was called since `forgetCommands`, including the commands of scripts. */
  commands (): Promise<Record<string, number>>
  forgetCommands (): Promise<void>
  /** A client that looks in from outside. Its commands do not count. */
  admin: Redis
}

/** A server that only this test uses: it can count commands, stop, or have other settings. It ends with its test. */
export async function ownRedis (
  t: Test,
  { args = [], started = true, binary }: { args?: string[], started?: boolean, binary?: string } = {}
): Promise<OwnRedis> {
  let server: RedisServer | null = started ? await startRedis({ args, ...(binary !== undefined && { binary }) }) : null
  const port = server?.port ?? await freePort()
  const url = `redis://127.0.0.1:${port}`
  const admin = new Redis(url, { lazyConnect: true, retryStrategy: () => 20, maxRetriesPerRequest: null })
  admin.on('error', () => {})
  t.teardown(async () => {
    admin.disconnect()
    await server?.stop()
  })
  const ready = async (): Promise<void> => {
    if (admin.status === 'wait') await admin.connect()
    await until(() => admin.status === 'ready', 'the start of redis-server')
  }
  if (started) await ready()

  return {
    port,
    url,
    admin,
    async start () {
      server = await startRedis({ port, args })
      await ready()
    },
    async stop () {
      await server?.kill()
    },
    async commands () {
      const info = await admin.info('commandstats')
      const calls: Record<string, number> = {}
      for (const [, name = '', count] of info.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)) {
        if (name !== 'info' && name !== 'config|resetstat') calls[name] = Number(count)
      }
      return calls
    },
    async forgetCommands () {
      await admin.config('RESETSTAT')
    }
  }
}

/** From now on Redis takes no writes (MISCONF), since the directory that it saves to is gone. */
export async function failToSave ({ admin }: OwnRedis): Promise<void> {
  const [, directory = ''] = await admin.config('GET', 'dir')
  await admin.config('SET', 'save', '3600 1')
  // Otherwise it would not end with its test.
  await admin.config('SET', 'shutdown-on-sigterm', 'nosave')
  rmSync(directory, { recursive: true })
  await admin.bgsave()
  await until(async () => (await admin.info('persistence')).includes('rdb_last_bgsave_status:err'))
}
