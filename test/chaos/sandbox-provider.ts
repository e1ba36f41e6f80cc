import type { Fault } from '../../sandbox-provider/faults.ts'
import type { Charge } from '../../sandbox-provider/ledger.ts'
import type { Delivery } from '../../sandbox-provider/notifier.ts'
import { SANDBOX_API_KEY } from '../../sandbox-provider/settings.ts'
import { until } from '../helper.ts'
import { NodeProcess } from './node-process.ts'

/** The factor for the provider's schedule, so that the last of eight deliveries comes after nine seconds. */
const NOTIFY_SCALE = '0.0001'

export interface Books {
  charges: Charge[]
  notifications: Delivery[]
  faultsWaiting: number
}

/** The sandbox provider in a process of its own. */
export class SandboxProvider {
  readonly #process: NodeProcess
  readonly #url: string

  private constructor (process: NodeProcess, port: number) {
    this.#process = process
    this.#url = `http://127.0.0.1:${port}`
  }

  static async start ({ directory, seed }: { directory: string, seed: number }): Promise<SandboxProvider> {
    let port = 0
    const process = new NodeProcess({
      directory,
      script: 'sandbox-provider.mjs',
      env: {
        PORT: '0',
        LOG_LEVEL: 'silent',
        SANDBOX_SEED: String(seed),
        NOTIFY_SCALE,
        NOTIFY_DUPLICATES: '0.3',
        NOTIFY_SHUFFLE_MS: '200'
      },
      onEvent: (event) => { if (event.event === 'listening') port = event.port }
    })
    await until(() => port !== 0, 'the sandbox provider listens', 60_000)
    return new SandboxProvider(process, port)
  }

  get port (): number {
    return Number(new URL(this.#url).port)
  }

  /** Sets a fault for the next request that it applies to. */
  async fault (fault: Pick<Fault, 'kind' | 'delayMs'>): Promise<void> {
    await this.#call('/sandbox/faults', {
      method: 'POST',
      body: JSON.stringify(fault),
      headers: { 'content-type': 'application/json' }
    })
  }

  async clearFaults (): Promise<void> {
    await this.#call('/sandbox/faults', { method: 'DELETE' })
  }

  async books (): Promise<Books> {
    return await (await this.#call('/sandbox/ledger')).json() as Books
  }

  async close (): Promise<void> {
    this.#process.signal('SIGKILL')
    await this.#process.ended
  }

  async #call (path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${SANDBOX_API_KEY}`, ...init.headers }
    const response = await fetch(this.#url + path, { ...init, headers })
    if (!response.ok) throw new Error(`the sandbox provider answered ${response.status} to ${path}`)
    return response
  }
}
