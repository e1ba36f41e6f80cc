import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Allocations } from './allocation-sampler.ts'
import type { LoadOrder, LoadReport } from './load.ts'
import type { ServerOrder, ServerQuestion, ServerReport } from './server.ts'

/** The loader of the tests. It only translates, so nothing of it runs while requests are served. */
const TYPESCRIPT = new URL('../test/typescript/register.mjs', import.meta.url).href

function start (file: string, args: string[], execArgv: string[] = []): ChildProcess {
  return fork(new URL(file, import.meta.url), args, {
    execArgv: [`--import=${TYPESCRIPT}`, ...execArgv],
    // The output of a peer is not shown on this terminal.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
}

/** Resolves to the next message, and rejects if the process ends without one. */
async function reportOf<T> (child: ChildProcess, what: string): Promise<T> {
  const stop = new AbortController()
  const ended = once(child, 'exit', { signal: stop.signal }).then(([code]) => {
    throw new Error(`${what} ended with ${String(code)}`)
  })
  ended.catch(() => {})
  try {
    const [report] = await Promise.race([once(child, 'message', { signal: stop.signal }), ended]) as [T]
    return report
  } finally {
    stop.abort()
  }
}

export interface ServerProcess {
  url: string
  begin (): Promise<void>
  /** Microseconds of user and system CPU since `begin`. */
  end (): Promise<number>
  /** Begins to sample allocations. */
  sample (): Promise<void>
  /** What was allocated since `sample`. */
  sampled (): Promise<Allocations>
  stop (): Promise<void>
  /** Ends the process with SIGKILL. */
  kill (): Promise<void>
}

/** @param execArgv options of Node.js, such as `--cpu-prof` */
export async function startServer (order: ServerOrder, execArgv: string[] = []): Promise<ServerProcess> {
  const child = start('server.ts', [JSON.stringify(order)], execArgv)
  const name = `the server of ${order.app}`
  const ask = async <T extends ServerReport> (question: ServerQuestion): Promise<T> => {
    const answered = reportOf<T>(child, name)
    child.send(question)
    return answered
  }
  const { url } = await reportOf<{ url: string }>(child, name)
  return {
    url,
    begin: async () => { await ask('begin') },
    end: async () => (await ask<{ cpu: number }>('end')).cpu,
    sample: async () => { await ask('sample') },
    sampled: async () => (await ask<{ allocations: Allocations }>('sampled')).allocations,
    stop: () => end(child, 'SIGTERM'),
    kill: () => end(child, 'SIGKILL')
  }
}

export interface LoadProcess {
  send (order: LoadOrder): Promise<LoadReport>
  stop (): Promise<void>
}

/** One process for the whole run, so that it is as warm as what it measures. */
export function startLoad (): LoadProcess {
  const child = start('load.ts', [])
  return {
    async send (order) {
      const report = reportOf<LoadReport>(child, 'the load')
      child.send(order)
      return report
    },
    stop: () => end(child, 'SIGTERM')
  }
}

async function end (child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}
