import type { Redis } from 'ioredis'

/** What Redis did, as Redis itself counts it. */
export interface RedisUsage {
  /** Calls by command, without those of the benchmark itself. */
  commands: Record<string, number>
  /** Microseconds of CPU, user and system. */
  cpu: number
}

/** The totals since Redis started. */
export async function redisUsage (redis: Redis): Promise<RedisUsage> {
  const [stats, cpu] = await Promise.all([redis.info('commandstats'), redis.info('cpu')])
  const commands: Record<string, number> = {}
  for (const [, name, calls] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    // Redis also counts the commands that a script calls, but these do not travel over the network. EVALSHA stands for
    // them.
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
