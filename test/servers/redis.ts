import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redisServer } from './binaries.ts'
import { freePort } from './port.ts'
import { protect } from './reaper.ts'
import { until } from './until.ts'

export interface RedisServer {
  url: string
  port: number
  pid: number
  /** The directory of its data, if it stores any. */
  directory: string
  /** Shuts it down. Does nothing if it has ended already. */
  stop (options?: EndOptions): Promise<void>
  /** Ends it at once, like a crash. */
  kill (options?: EndOptions): Promise<void>
  /** Stops the process (SIGSTOP): it does not answer, and its connections stay open. */
  freeze (): void
  thaw (): void
}

export interface EndOptions {
  /** Keeps its directory, so that another Redis can start there. */
  keepData?: boolean
}

export interface StartOptions {
  port?: number
  args?: string[]
  env?: Record<string, string>
  /** The directory of a Redis that ended with `keepData`. */
  directory?: string
  /** Default: the `redis-server` of the tests. */
  binary?: string
}

/** Starts a throwaway Redis. It stores nothing on disk unless `args` say so. Rejects if `port` is given and taken. */
export async function startRedis ({
  port,
  args = [],
  env = {},
  directory,
  binary = redisServer()
}: StartOptions = {}): Promise<RedisServer> {
  for (let tries = 1; ; tries++) {
    const started = await start(binary, port ?? await freePort(), args, env, directory)
    if (started !== null) return started
    if (port !== undefined || tries === 5) throw new Error(`redis-server did not start on port ${port ?? '(any)'}`)
  }
}

/** Returns `null` if Redis ended before it answered. Usually another process has taken the port meanwhile. */
async function start (
  binary: string,
  port: number,
  args: string[],
  env: Record<string, string>,
  given?: string
): Promise<RedisServer | null> {
  const directory = given ?? mkdtempSync(join(tmpdir(), 'test-redis-'))
  protect(directory)
  const server = spawn(binary, [
    '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory, ...args
  ], { stdio: 'ignore', env: { ...process.env, ...env } })
  const pid = server.pid as number
  protect(pid)
  const ended = once(server, 'exit')
  const hasEnded = (): boolean => server.exitCode !== null || server.signalCode !== null
  const end = async (signal: NodeJS.Signals, { keepData = false }: EndOptions = {}): Promise<void> => {
    if (!hasEnded()) {
      server.kill('SIGCONT')
      server.kill(signal)
    }
    await ended
    if (!keepData) rmSync(directory, { recursive: true, force: true })
  }
  try {
    await until(async () => hasEnded() || await answers(port, pid), 'redis-server answering')
  } catch (error) {
    await end('SIGKILL')
    throw error
  }
  if (hasEnded()) {
    await end('SIGKILL', { keepData: given !== undefined })
    return null
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid,
    directory,
    stop: options => end('SIGTERM', options),
    kill: options => end('SIGKILL', options),
    freeze: () => { server.kill('SIGSTOP') },
    thaw: () => { server.kill('SIGCONT') }
  }
}

/** Whether this process answers on the port, and not another server that has taken it. */
function answers (port: number, pid: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('INFO server\r\n'))
    socket.once('data', (data) => {
      socket.destroy()
      resolve(data.toString().includes(`process_id:${pid}\r\n`))
    })
    socket.once('error', () => resolve(false))
  })
}
