import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { buildSync } from 'esbuild'
import type { Test } from 'tap'
import { PROJECT } from '../project.ts'
import { bundleDirectory, bundleOptions } from './bundle.ts'
import { until } from './until.ts'

export interface ServerProcess {
  pid: number
  /** The URL that it listens on. Rejects if the process ends before it listens. */
  listening (): Promise<string>
  kill (signal: NodeJS.Signals): void
  /** Its exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals | null>
  stdout (): string
  stderr (): string
}

/**
 * Ends the server when its standard input ends, which is when this process ends. So a test leaves no server behind,
 * also after a timeout or a SIGKILL.
 */
const END_WITH_PARENT = 'data:text/javascript,' + encodeURIComponent(
  'process.stdin.on("end", () => process.exit(9)).resume().unref()')

let directory: string | undefined
const bundles = new Map<string, string>()

/** The bundle of a script, made once for all servers that this process starts. */
function bundleOf (script: string): string {
  const made = bundles.get(script)
  if (made !== undefined) return made
  directory ??= bundleDirectory()
  const name = `server-${bundles.size}`
  buildSync(bundleOptions(directory, { [name]: script }))
  const file = join(directory, `${name}.mjs`)
  bundles.set(script, file)
  return file
}

/**
 * Starts a server in a process of its own, on a free port, with these environment variables and no others.
 * @param script relative to the project
 * @param preloads scripts that the process imports before it
 */
export function startProcess (
  t: Test,
  script: string,
  env: Record<string, string> = {},
  preloads: string[] = []
): ServerProcess {
  const imports = [END_WITH_PARENT, ...preloads.map(bundleOf)].map(module => `--import=${module}`)
  const child = spawn(process.execPath, [...imports, bundleOf(script)], {
    cwd: PROJECT,
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: 'pipe'
  })
  return watchServer(t, child)
}

/**
 * What a test sees of a server that it has started, until the test ends and the server with it.
 * @param kill sends the signal to the server, and to all that it has started if there is more
 */
export function watchServer (
  t: Test,
  child: ChildProcess & { stdout: Readable, stderr: Readable },
  kill: (signal: NodeJS.Signals) => void = signal => { child.kill(signal) }
): ServerProcess {
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  // "close" comes after all output was read.
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null)
  t.teardown(async () => {
    kill('SIGKILL')
    await ended
  })
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
  return {
    pid: child.pid ?? NaN,
    async listening () {
      const address = (): string | undefined => /"msg":"Server listening at (http:[^"\s]+)"/.exec(stdout)?.[1]
      await until(() => address() !== undefined || hasEnded(), 'the server listens')
      const url = address()
      if (url === undefined) throw new Error(`the server ended: ${stderr}${stdout}`)
      return url
    },
    kill,
    ended,
    stdout: () => stdout,
    stderr: () => stderr
  }
}
