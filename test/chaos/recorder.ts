import type { AppEvent, History, Run, Silence, Try, WorkRun } from './history.ts'

/** Records what clients send and get, and what the preloads of the apps report. */
export class Recorder {
  readonly tries: Try[] = []
  readonly abandoned: string[] = []
  readonly presses: number[][] = []
  readonly #silences: Silence[] = []
  /** By owner. */
  readonly #runs = new Map<string, Run>()
  readonly #work = new Map<number, WorkRun>()
  /** By key: the callbacks that wait for its work to begin. */
  readonly #awaited = new Map<string, () => void>()
  /** The tries whose order to strike has been carried out. */
  readonly #struck = new Set<number>()

  get runs (): Run[] {
    return [...this.#runs.values()]
  }

  /** A new try, to be filled in when it ends. */
  begin (sent: Pick<Try, 'key' | 'route' | 'body' | 'app' | 'at'>): Try {
    const entry: Try = {
      ...sent,
      id: this.tries.length,
      end: Infinity,
      status: null,
      code: null,
      text: '',
      replayed: false,
      final: false
    }
    this.tries.push(entry)
    return entry
  }

  hear (app: number, event: AppEvent): void {
    switch (event.event) {
      case 'granted':
        this.#runs.set(event.owner, {
          try: event.try, attempt: event.attempt, asked: event.asked, at: event.at, settling: null, settled: null
        })
        break
      case 'settling': {
        const run = this.#runs.get(event.owner)
        if (run !== undefined) run.settling = event.at
        break
      }
      case 'settled': {
        const run = this.#runs.get(event.owner)
        if (run !== undefined) run.settled = event.at
        break
      }
      case 'began':
        this.#work.set(event.try, {
          try: event.try, attempt: event.attempt, at: event.at, ended: null, kept: false, aborted: false
        })
        this.#awaited.get(this.tries[event.try]?.key ?? '')?.()
        break
      case 'ended': {
        const work = this.#work.get(event.try)
        if (work !== undefined) Object.assign(work, { ended: event.at, kept: event.kept, aborted: event.aborted })
        break
      }
      case 'unheard':
        this.#silences.push({ app, at: event.from, until: event.at })
        break
      case 'struck':
        this.#struck.add(event.try)
    }
  }

  /** Waits until the work of this key begins, which may never happen. */
  async begun (key: string): Promise<void> {
    await new Promise<void>((resolve) => { this.#awaited.set(key, resolve) })
  }

  /** Whether this try has made its app fail. */
  hasStruck ({ id }: Try): boolean {
    return this.#struck.has(id)
  }

  history (rest: Pick<History, 'lease' | 'lives' | 'strikes'>): History {
    return {
      ...rest,
      tries: this.tries,
      runs: this.runs,
      silences: this.#silences,
      abandoned: this.abandoned,
      work: [...this.#work.values()],
      presses: this.presses
    }
  }
}
