import { Redis } from 'ioredis'
import { until } from '../helper.ts'
import { startRedis } from '../servers/redis.ts'
import type { RedisServer } from '../servers/redis.ts'
import type { OutageOfRedis } from './faults.ts'
import { LARGE_ANSWER } from './settings.ts'
import { REDIS_ARGUMENTS } from './world.ts'
import type { World } from './world.ts'

/** The bytes that are left for small values when Redis is full for large ones. */
const LEFT_FOR_SMALL = LARGE_ANSWER / 4
/** A time limit that only a hang reaches. */
const TIME_TO_FAIL_OVER = 60_000
/** A port that nobody listens on. */
const DEAD_PORT = 1

/** From the beginning of the outage to its end. */
export type OutageRun = (lasting: () => Promise<void>) => Promise<void>

/** Prepares what the outage needs, so that it can begin at once. */
export async function prepareOutage (world: World, what: OutageOfRedis): Promise<OutageRun> {
  switch (what) {
    case 'restarted with its data':
      return lasting => world.restartRedis(lasting)
    case 'failed over':
      return prepareFailOver(world)
    case 'full for what is large':
      return lasting => withAdmin(world.redis, admin => fullForWhatIsLarge(admin, lasting()))
    case 'full':
      return setFor(world, 'maxmemory', 1)
    case 'without its replicas':
      return setFor(world, 'min-replicas-to-write', 1)
    case 'read-only':
      return lasting => withAdmin(world.redis, async (admin) => {
        await admin.replicaof('127.0.0.1', DEAD_PORT)
        await lasting()
        await admin.replicaof('NO', 'ONE')
      })
  }
}

/** A setting that is 0 otherwise. */
function setFor (world: World, name: string, value: number): OutageRun {
  return lasting => withAdmin(world.redis, async (admin) => {
    await admin.config('SET', name, value)
    await lasting()
    await admin.config('SET', name, 0)
  })
}

/**
 * Redis counts the arguments of a command as memory while it decides: it refuses what is larger than the memory that is
 * left.
 */
async function fullForWhatIsLarge (admin: Redis, over: Promise<void>): Promise<void> {
  let isOver = false
  void over.then(() => { isOver = true })
  await until(async () => {
    // This runs once: the limit that is set last must be none.
    const isLast = isOver
    const used = /^used_memory:(\d+)/m.exec(await admin.info('memory'))?.[1]
    await admin.config('SET', 'maxmemory', isLast ? 0 : Number(used) + LEFT_FOR_SMALL)
    return isLast
  }, 'the end of the outage', 60_000)
}

/**
 * Fails over to a replica that has all data, as in a planned promotion. The old master takes no writes from then on,
 * and is gone in the end.
 */
async function prepareFailOver (world: World): Promise<OutageRun> {
  const old = world.redis
  const replica = await startRedis({ args: [...REDIS_ARGUMENTS, '--replicaof', `127.0.0.1 ${old.port}`] })
  const tells = (server: RedisServer, ...what: string[]) => () => withAdmin(server, async (admin) => {
    const info = await admin.info()
    return what.every(line => info.includes(line))
  })
  await until(tells(old, 'state=online'), 'the replica has everything', TIME_TO_FAIL_OVER)
  const isOnDisk = tells(replica, 'aof_rewrite_in_progress:0', 'aof_rewrite_scheduled:0')
  await until(isOnDisk, 'the replica has everything on disk', TIME_TO_FAIL_OVER)
  return async (lasting) => {
    await withAdmin(old, admin => admin.call('FAILOVER', 'TO', '127.0.0.1', replica.port))
    await until(tells(replica, 'role:master'), 'the replica is promoted', TIME_TO_FAIL_OVER)
    await lasting()
    world.redis = replica
    await old.kill()
  }
}

async function withAdmin<T> ({ port }: RedisServer, work: (admin: Redis) => Promise<T>): Promise<T> {
  const admin = new Redis(port, '127.0.0.1')
  admin.on('error', () => {})
  try {
    return await work(admin)
  } finally {
    admin.disconnect()
  }
}
