import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../helper.ts'
import { clock } from './clock.ts'
import type { AppEvent, Life } from './history.ts'
import { NodeProcess } from './node-process.ts'
import type { ProcessOptions } from './node-process.ts'
import { LEASE } from './settings.ts'

/** How long an app may take to restart, whatever happens to the servers that it needs. */
export const TIME_TO_START = 60_000

/** An app of the run: a process that is restarted on the same port whenever it ends. */
export class App {
  readonly lives: Life[] = []
  readonly #options: Omit<ProcessOptions, 'onEvent'>
  readonly #onEvent: ProcessOptions['onEvent']
  readonly #index: number
  #process: NodeProcess | null = null
  #port = 0
  #isUp = false
  #closing = false
  #running: Promise<void>

  constructor (index: number, options: ProcessOptions) {
    const { onEvent, ...rest } = options
    this.#index = index
    this.#options = rest
    this.#onEvent = onEvent
    this.#running = this.#keepRunning()
  }

  /** The process listens. It may be stopped. */
  get isUp (): boolean {
    return this.#isUp
  }

  get url (): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** @throws if the app does not start within a minute, with what it wrote */
  async up (): Promise<void> {
    await until(() => this.#isUp || this.#closing, 'the app listens', TIME_TO_START).catch((error: Error) => {
      throw new Error(`app ${this.#index}: ${error.message}: ${this.#process?.stderr ?? ''}`)
    })
  }

  signal (signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.signal(signal)
  }

  /**
   * Restarts the app as a deployment does: the app is asked to end and ends in its own time, and a new process starts.
   * Resolves when the new process listens.
   */
  async deploy (): Promise<void> {
    this.#isUp = false
    this.#process?.signal('SIGTERM')
    await this.up()
  }

  async close (): Promise<void> {
    this.#closing = true
    this.#process?.signal('SIGKILL')
    await this.#running
  }

  async #keepRunning (): Promise<void> {
    while (!this.#closing) {
      const { env } = this.#options
      const process = new NodeProcess({
        ...this.#options,
        env: { ...env, PORT: String(this.#port) },
        onEvent: event => this.#hear(event)
      })
      this.#process = process
      const life: Life = { app: this.#index, from: process.from, until: Infinity, end: null }
      this.lives.push(life)
      const { at, signal } = await process.ended
      life.until = at
      life.end = signal === null ? 'exited' : 'killed'
      // A process that could not start, because a server that it needs is down, is not restarted in a tight loop.
      if (!this.#isUp && !this.#closing) await delay(LEASE / 10)
      this.#isUp = false
    }
  }

  #hear (event: AppEvent): void {
    if (event.event === 'listening') {
      this.#port = event.port
      this.#isUp = true
    }
    this.#onEvent(event)
  }
}

/** Ends the lives of processes that are still alive at the current time. */
export function closed (lives: Life[]): Life[] {
  const now = clock()
  return lives.map(life => ({ ...life, until: Math.min(life.until, now) }))
}
