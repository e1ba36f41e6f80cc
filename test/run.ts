import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { MissingBinaryError, redisServer } from './servers/binaries.ts'
import { startPostgres } from './servers/postgres.ts'
import { startRedis } from './servers/redis.ts'

/*
 * tsx test/run.ts -- command …
 *
 * Runs a command with REDIS_URL and DATABASE_URL set: as they are, or to throwaway servers that end with it.
 */
const separator = process.argv.indexOf('--')
const [command, ...args] = separator === -1 ? [] : process.argv.slice(separator + 1)
if (command === undefined) fail('Usage: tsx test/run.ts -- command …')

const stops: Array<() => Promise<void>> = []
let code = 1
try {
  code = await run()
} catch (error) {
  process.stderr.write(error instanceof MissingBinaryError ? `${error.message}\n` : `${error instanceof Error ? error.stack : String(error)}\n`)
} finally {
  await Promise.all(stops.map(stop => stop()))
}
process.exit(code)

async function run (): Promise<number> {
  // Tests that stop, kill or freeze Redis start their own, also where they are given one.
  const env: NodeJS.ProcessEnv = { ...process.env, REDIS_SERVER_BIN: redisServer() }
  const [redisUrl, databaseUrl] = await Promise.all([serverOf('REDIS_URL', startRedis), serverOf('DATABASE_URL', startPostgres)])
  const child = spawn(command as string, args, { stdio: 'inherit', env: { ...env, REDIS_URL: redisUrl, DATABASE_URL: databaseUrl } })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const [exitCode, signal] = await once(child, 'exit') as [number | null, NodeJS.Signals | null]
  return exitCode ?? 128 + constants.signals[signal as NodeJS.Signals]
}

async function serverOf (variable: string, start: () => Promise<{ url: string, stop: () => Promise<void> }>): Promise<string> {
  const given = process.env[variable]
  if (given !== undefined && given !== '') {
    process.stderr.write(`tests: ${variable} is given\n`)
    return given
  }
  const { url, stop } = await start()
  stops.push(stop)
  process.stderr.write(`tests: ${variable} is a throwaway server, ${url}\n`)
  return url
}

function fail (message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}
