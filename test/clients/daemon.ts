import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { protect, protectGroup } from '../servers/reaper.ts'

export interface Daemon {
  pid: number
  hasEnded (): boolean
  /** What the program wrote to its standard error. */
  log (): string
  kill (signal: NodeJS.Signals): void
}

/** A directory that is removed when the test ends, however it ends. */
export function ownDirectory (t: Test, what: string): string {
  const directory = mkdtempSync(join(tmpdir(), `test-${what}-`))
  protect(directory)
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
  return directory
}

/** A program in a process group of its own. No process of the group is left when the test ends, however it ends. */
export function startDaemon (t: Test, command: string, args: string[], env: NodeJS.ProcessEnv = process.env): Daemon {
  const child = spawn(command, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'], env })
  const { pid } = child
  if (pid === undefined) throw new Error(`${command} did not start`)
  protectGroup(pid)
  let written = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { written += text })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // Resolves when all processes of the group have ended.
    }
    await ended
  })
  return {
    pid,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    log: () => written,
    kill: signal => { child.kill(signal) }
  }
}

/**
 * Waits until a server takes connections on its port. `false`: the server has ended, as it does if the port was taken.
 */
export async function listens (daemon: Daemon, port: number): Promise<boolean> {
  const takesOne = async (): Promise<boolean> => {
    const socket = connect(port, '127.0.0.1')
    const taken = await once(socket, 'connect').then(() => true, () => false)
    socket.destroy()
    return taken
  }
  await until(async () => daemon.hasEnded() || await takesOne(), `port ${port} being listened to`, 60_000)
  return !daemon.hasEnded()
}
