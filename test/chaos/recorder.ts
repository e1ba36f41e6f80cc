import type { AppEvent, History, Run, Try } from './history.ts'

/** Writes down what clients send and get, and what the apps' preloads tell. */
export class Recorder {
  readonly tries: Try[] = []
  readonly abandoned: string[] = []
  readonly #runs = new Map<number, Run>()
  /** Tries whose order to strike has been carried out. */
  readonly #struck = new Set<number>()

  get runs (): Run[] {
    return [...this.#runs.values()]
  }

  /** A new try, to be filled in when it ends. */
  begin (sent: Pick<Try, 'key' | 'route' | 'body' | 'app' | 'at'>): Try {
    const entry: Try = { ...sent, id: this.tries.length, end: Infinity, status: null, code: null, text: '', replayed: false, final: false }
    this.tries.push(entry)
    return entry
  }

  hear (event: AppEvent): void {
    switch (event.event) {
      case 'granted':
        this.#runs.set(event.try, { try: event.try, attempt: event.attempt, asked: event.asked, at: event.at, settling: null })
        break
      case 'settling': {
        const run = this.#runs.get(event.try)
        if (run !== undefined) run.settling = event.at
        break
      }
      case 'struck':
        this.#struck.add(event.try)
    }
  }

  /** Whether this try has made its app fall. */
  hasStruck ({ id }: Try): boolean {
    return this.#struck.has(id)
  }

  history (rest: Pick<History, 'lease' | 'lives' | 'strikes'>): History {
    return { ...rest, tries: this.tries, runs: this.runs, abandoned: this.abandoned }
  }
}
