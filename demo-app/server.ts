import { Redis } from 'ioredis'
import { buildApp } from './app.ts'
import { banner, localUrl } from './banner.ts'
import { readConfig } from './config.ts'
import { startEmbeddedDatabase } from './db/embedded.ts'
import { explain } from './explain.ts'
import { standardOutput } from './output.ts'
import { closeWhenTold } from './stop.ts'

/** Milliseconds that running requests have to finish when the process is asked to stop. */
const SHUTDOWN_TIMEOUT = 25_000

try {
  await start()
} catch (error) {
  process.stderr.write(`Cannot start. ${explain(error)}\n`)
  process.exit(1)
}

async function start (): Promise<void> {
  const config = readConfig(process.env)
  const redis = config.redisUrl === null
    ? null
    : new Redis(config.redisUrl, {
      lazyConnect: true,
      retryStrategy: pauseWithin(config.idempotency.lease)
    })
  const embedded = config.databaseUrl === null ? await startEmbeddedDatabase() : null
  const app = await buildApp({
    ...database(config.databaseUrl, embedded?.url),
    redis,
    demoCustomers: config.demoCustomers,
    logger: { level: config.logLevel, stream: standardOutput() },
    idempotency: config.idempotency,
    provider: {
      url: config.providerUrl,
      apiKey: config.providerApiKey,
      timeout: config.providerTimeout,
      ...(config.publicUrl !== null && { publicUrl: config.publicUrl })
    },
    sweepAfter: config.sweepAfter
  })

  // ioredis reconnects by itself for as long as it takes, and the plugin refuses writes meanwhile. So the app also
  // starts if it cannot reach Redis: it logs that, and orders can be read.
  redis?.on('error', (error: Error) => app.log.error({ err: error }, 'Redis cannot be reached'))
  redis?.connect().catch(() => {})

  closeWhenTold(app.log, SHUTDOWN_TIMEOUT, async () => {
    // The requests finish before their connections close. The app closes its connections to the database itself.
    await app.close()
    if (redis?.status === 'ready') await redis.quit()
    else redis?.disconnect()
    await embedded?.close()
  })

  const address = await app.listen({ host: config.host, port: config.port })
  if (config.demoCustomers) process.stdout.write(banner(localUrl(config.host, new URL(address).port)))
}

/**
 * Milliseconds between two attempts to reconnect. A process that reconnects a lease later than the others finds that
 * they have taken over its keys, although it still has their outcomes.
 */
function pauseWithin (lease = 30_000): (tries: number) => number {
  return tries => Math.min(50 * tries, 2_000, lease / 4)
}

function database (configured: string | null, embedded = ''): { databaseUrl: string, embedded: boolean } {
  return { databaseUrl: configured ?? embedded, embedded: configured === null }
}
