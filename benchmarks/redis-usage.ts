import type { Redis } from 'ioredis'

/** What Redis did, as it counts it itself. */
export interface RedisUsage {
  /** Calls by command, without those of the measuring. */
  commands: Record<string, number>
  /** Microseconds of CPU, user and system. */
  cpu: number
}

/** Until now, since Redis started. */
export async function redisUsage (redis: Redis): Promise<RedisUsage> {
  const [stats, cpu] = await Promise.all([redis.info('commandstats'), redis.info('cpu')])
  const commands: Record<string, number> = {}
  for (const [, name, calls] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    // What a script calls is counted too, but travels nowhere. EVALSHA stands for it.
    if (name !== undefined && name !== 'info') commands[name] = Number(calls)
  }
  const seconds = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(cpu)?.[1] ?? NaN)
  return { commands, cpu: (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6 }
}

export function difference (before: RedisUsage, after: RedisUsage): RedisUsage {
  const commands: Record<string, number> = {}
  for (const [name, calls] of Object.entries(after.commands)) {
    const more = calls - (before.commands[name] ?? 0)
    if (more > 0) commands[name] = more
  }
  return { commands, cpu: after.cpu - before.cpu }
}
