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
  // Tests that stop, kill or freeze Redis start their own, even if the environment gives one.
  const env: NodeJS.ProcessEnv = { ...process.env, REDIS_SERVER_BIN: redisServer() }
  const [redisUrl, databaseUrl] = await Promise.all([
    serverOf('REDIS_URL', startRedis),
    serverOf('DATABASE_URL', startPostgres)
  ])
  // This is registered before the command starts: this process can be asked to end before `spawn` returns.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => signalGroup(child, signal))
  // The command gets a process group of its own: tap does not pass a signal on to its tests, so the signal has to go to
  // all.
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
    // All processes of the group have ended.
  }
}

async function serverOf (
  variable: string,
  start: () => Promise<{ url: string, stop: () => Promise<void> }>
): Promise<string> {
  const given = process.env[variable]
  if (given !== undefined && given !== '') {
    // The address of the server, without the password that it may contain.
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
