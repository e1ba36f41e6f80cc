import type { Queryable } from '../journal/journal.ts'
import type { JournalledAnswer, RequestIdempotency } from '../types.ts'
import { completeInJournal } from './journal-completion.ts'
import { lookUpBefore } from './journal-look-up.ts'
import type { Run } from './run.ts'

/** `request.idempotency` of a run: what its handler sees. */
export class RunView implements RequestIdempotency {
  readonly key: string
  readonly scope: string
  readonly attempt: number
  readonly replayed = false
  readonly #run: Run

  constructor (key: string, run: Run) {
    this.key = key
    this.scope = run.scope
    this.attempt = run.owned.attempt
    this.#run = run
  }

  get signal (): AbortSignal {
    return this.#run.signal
  }

  release (): void {
    this.#run.releaseRequested = true
  }

  complete<T> (tx: Queryable, answer: JournalledAnswer<T>): Promise<T> {
    return completeInJournal(this.#run, tx, answer)
  }

  lookUp (): Promise<void> {
    return lookUpBefore(this.#run)
  }
}

/** `request.idempotency` of a replay, which owns nothing. */
export class ReplayView implements RequestIdempotency {
  readonly key: string
  readonly scope: string
  readonly attempt: number
  readonly replayed = true

  constructor (key: string, scope: string, attempt: number) {
    this.key = key
    this.scope = scope
    this.attempt = attempt
  }

  get signal (): AbortSignal {
    return new AbortController().signal
  }

  release (): void {}

  async complete (): Promise<never> {
    throw new Error('fastify-idempotency: a replay has nothing to complete')
  }

  async lookUp (): Promise<never> {
    throw new Error('fastify-idempotency: a replay has nothing to look up')
  }
}
