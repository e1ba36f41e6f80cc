import type { FastifyBaseLogger } from 'fastify'
import { factsOf } from '../shared/error-facts.ts'
import type { Journal } from './journal.ts'

/** Deletes the expired entries of each journal, batch by batch, while the app runs. */
export class Purger {
  readonly journals = new Set<Journal>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #log: FastifyBaseLogger
  #closed = false

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  cover (journal: Journal): void {
    this.journals.add(journal)
  }

  start (): void {
    for (const journal of this.journals) {
      if (journal.purgeInterval === 0) continue
      let purging = false
      const timer = setInterval(() => {
        if (purging) return
        purging = true
        void this.#purge(journal).finally(() => { purging = false })
      }, journal.purgeInterval)
      this.#timers.add(timer.unref())
    }
  }

  async #purge (journal: Journal): Promise<void> {
    try {
      while (!this.#closed && await journal.purge());
    } catch (err) {
      this.#log.warn({ err: factsOf(err) }, 'idempotency: expired entries of the journal could not be deleted, ' +
        'trying again later')
    }
  }

  close (): void {
    this.#closed = true
    for (const timer of this.#timers) clearInterval(timer)
  }
}
