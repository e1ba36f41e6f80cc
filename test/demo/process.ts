import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { buildSync } from 'esbuild'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { bundleDirectory, bundleOptions } from '../servers/bundle.ts'

export interface ServerProcess {
  pid: number
  /** Where it listens; rejects if it ends before it does. */
  listening (): Promise<string>
  kill (signal: NodeJS.Signals): void
  /** Its exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals | null>
  stdout (): string
  stderr (): string
}

/**
 * Ends the server when its standard input does, which is when this process is no more: however a test ends (a timeout,
 * a SIGKILL), it leaves no server behind.
 */
const END_WITH_PARENT = 'data:text/javascript,' + encodeURIComponent(
  'process.stdin.on("end", () => process.exit(9)).resume().unref()')

let directory: string | undefined
const bundled = new Map<string, string>()

/** Made once for all servers that this process starts. */
function bundleOf (script: string): string {
  const made = bundled.get(script)
  if (made !== undefined) return made
  directory ??= bundleDirectory()
  const name = `server-${bundled.size}`
  buildSync(bundleOptions(directory, { [name]: script }))
  const file = join(directory, `${name}.mjs`)
  bundled.set(script, file)
  return file
}

/**
 * `npm start` without npm: the real server in a process of its own, on a free port, with these variables and no others.
 * Or another script that is a server.
 */
export function startServer (t: Test, env: Record<string, string> = {}, script = 'demo-app/server.ts'): ServerProcess {
  const child = spawn(process.execPath, [`--import=${END_WITH_PARENT}`, bundleOf(script)], {
    cwd: resolve(import.meta.dirname, '../..'),
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: 'pipe'
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  // "close" comes after all output was read.
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    pid: child.pid ?? NaN,
    async listening () {
      const address = () => /"msg":"Server listening at (\S+)"/.exec(stdout)?.[1]
      await until(() => address() !== undefined || child.exitCode !== null, 'the server listens')
      const url = address()
      if (url === undefined) throw new Error(`the server ended: ${stderr}`)
      return url
    },
    kill: signal => { child.kill(signal) },
    ended,
    stdout: () => stdout,
    stderr: () => stderr
  }
}
