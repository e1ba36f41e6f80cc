import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { protect } from '../servers/reaper.ts'
import { clock } from './clock.ts'
import type { AppEvent } from './history.ts'

/** How much of the last output of a process is kept, to explain why it does not start. */
const TAIL = 2_000

export interface ProcessOptions {
  /** The directory that `build` made. */
  directory: string
  /** The file within that directory. */
  script: string
  env: Record<string, string>
  onEvent: (event: AppEvent) => void
}

/** A Node.js process with the preload. It ends with this process at the latest. */
export class NodeProcess {
  readonly from = clock()
  /**
   * Resolves to the time at which the process ended, and to the signal that ended it, if any, after everything that it
   * reported was heard.
   */
  readonly ended: Promise<{ at: number, signal: NodeJS.Signals | null }>
  readonly #child: ChildProcess
  #stderr = ''

  constructor ({ directory, script, env, onEvent }: ProcessOptions) {
    const child = spawn(process.execPath, [script], {
      cwd: directory,
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe']
    })
    this.#child = child
    if (child.pid !== undefined) protect(child.pid)
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-TAIL)
    })
    createInterface(child.stdio[3] as Readable).on('line', line => onEvent(JSON.parse(line) as AppEvent))
    const exited = once(child, 'exit').then(([, signal]) => ({ at: clock(), signal: signal as NodeJS.Signals | null }))
    this.ended = Promise.all([exited, once(child, 'close')]).then(([end]) => end)
  }

  get stderr (): string {
    return this.#stderr
  }

  signal (signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
