import type { FastifyBaseLogger } from 'fastify'
import type { Deadline } from './deadline.ts'

const FIRST_PAUSE = 50
const LONGEST_PAUSE = 2_000

interface Task {
  call: () => Promise<boolean>
  log: FastifyBaseLogger
  /** What the call does, for the log: 'completion' or 'release'. */
  what: string
  until: number
  pause: number
  timer: NodeJS.Timeout | null
}

/**
 * Completions and releases that the store did not take, tried again until it answers. They are as many as handlers ran
 * when the store went away, since nothing new is claimed without it.
 */
export class Background {
  readonly #deadline: Deadline
  readonly #tasks = new Set<Task>()

  constructor (deadline: Deadline) {
    this.#deadline = deadline
  }

  get pending (): number {
    return this.#tasks.size
  }

  /** Keep calling until `call` resolves, which it does with whether the key was still the caller's, or for `milliseconds`. */
  insist (what: string, milliseconds: number, log: FastifyBaseLogger, call: () => Promise<boolean>): void {
    const task: Task = { call, log, what, until: performance.now() + milliseconds, pause: FIRST_PAUSE, timer: null }
    this.#tasks.add(task)
    this.#schedule(task)
  }

  #schedule (task: Task): void {
    task.timer = setTimeout(() => { void this.#try(task) }, task.pause)
    task.timer.unref()
    task.pause = Math.min(task.pause * 2, LONGEST_PAUSE)
  }

  async #try (task: Task): Promise<void> {
    task.timer = null
    try {
      const owned = await this.#deadline.race(task.call())
      this.#tasks.delete(task)
      if (owned) task.log.info(`idempotency: the ${task.what} that had failed is stored now`)
      else task.log.warn(`idempotency: the ${task.what} came too late and changed nothing, another attempt owns the key`)
    } catch (err) {
      if (!this.#tasks.has(task)) return
      if (performance.now() < task.until) return this.#schedule(task)
      this.#tasks.delete(task)
      task.log.error({ err }, `idempotency: gave up the ${task.what}, the store did not come back in time`)
    }
  }

  /** One last try for each, all at once; what fails now is lost, and the lease is what is left. */
  async close (): Promise<void> {
    await Promise.all([...this.#tasks].map(async (task) => {
      if (task.timer !== null) clearTimeout(task.timer)
      task.until = 0
      await this.#try(task)
    }))
  }
}
