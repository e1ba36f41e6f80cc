import type { Redis } from 'ioredis'

/** The database of the orders, for people and without credentials. */
export function describeDatabase (databaseUrl: string, embedded: boolean): string {
  if (embedded) return 'an embedded Postgres (PGlite) in memory: everything is gone when this process ends'
  const { hostname, port, pathname } = new URL(databaseUrl)
  return `Postgres at ${hostname || 'localhost'}:${port || 5432}${pathname}`
}

/** The store of the idempotency keys, for people and without credentials. */
export function describeStore (redis: Redis | null): string {
  if (redis === null) return 'memory: good for one process, gone when it ends'
  const { host, port, path } = redis.options
  return `Redis at ${path ?? `${host}:${port}`}`
}
