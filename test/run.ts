import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { MissingBinaryError, redisServer } from './servers/binaries.ts'
import { startPostgres } from './servers/postgres.ts'
import { protectGroup } from './servers/reaper.ts'
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
  process.stderr.write(
    error instanceof MissingBinaryError
      ? `${error.message}\n`
      : `${error instanceof Error ? error.stack : String(error)}\n`
  )
} finally {
  await Promise.all(stops.map(stop => stop()))
}
process.exit(code)

async function run (): Promise<number> {
  // Tests that stop, kill or freeze Redis start their own, also where they are given one.
  const env: NodeJS.ProcessEnv = { ...process.env, REDIS_SERVER_BIN: redisServer() }
  const [redisUrl, databaseUrl] = await Promise.all([
    serverOf('REDIS_URL', startRedis),
    serverOf('DATABASE_URL', startPostgres)
  ])
  // Before the command is there: it can be heard of, and this process be told to end, sooner than `spawn` returns.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => signalGroup(child, signal))
  // In a group of its own: tap does not pass a signal on to its tests, so it has to go to all of them.
  const child = spawn(command as string, args, {
    stdio: 'inherit',
    detached: true,
    env: { ...env, REDIS_URL: redisUrl, DATABASE_URL: databaseUrl }
  })
  if (child.pid !== undefined) protectGroup(child.pid)
  const [exitCode, signal] = await once(child, 'exit') as [number | null, NodeJS.Signals | null]
  return exitCode ?? 128 + constants.signals[signal as NodeJS.Signals]
}

function signalGroup ({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // They have all ended.
  }
}

async function serverOf (
  variable: string,
  start: () => Promise<{ url: string, stop: () => Promise<void> }>
): Promise<string> {
  const given = process.env[variable]
  if (given !== undefined && given !== '') {
    // Where it is, without the password that may stand in it.
    process.stderr.write(`tests: ${variable} is given${URL.canParse(given) ? `, ${new URL(given).host}` : ''}\n`)
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
