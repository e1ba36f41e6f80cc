import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { LoadOrder, LoadReport } from './load.ts'
import type { ServerOrder, ServerQuestion, ServerReport } from './server.ts'

function start (file: string, order: unknown, execArgv: string[] = []): ChildProcess {
  return fork(new URL(file, import.meta.url), [JSON.stringify(order)], {
    execArgv: ['--import=tsx', ...execArgv],
    // What a peer prints is not for this terminal.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
}

/** The next message, or an error if the process ends without one. */
async function reportOf<T> (child: ChildProcess, what: string): Promise<T> {
  const ended = once(child, 'exit').then(([code]) => { throw new Error(`${what} ended with ${String(code)}`) })
  ended.catch(() => {})
  const [report] = await Promise.race([once(child, 'message'), ended]) as [T]
  return report
}

export interface ServerProcess {
  url: string
  begin (): Promise<void>
  /** Microseconds of CPU since `begin`, user and system. */
  end (): Promise<number>
  stop (): Promise<void>
  /** With SIGKILL. */
  kill (): Promise<void>
}

/** @param execArgv of Node.js: `--cpu-prof`, say */
export async function startServer (order: ServerOrder, execArgv: string[] = []): Promise<ServerProcess> {
  const child = start('server.ts', order, execArgv)
  const ask = async <T extends ServerReport> (question: ServerQuestion): Promise<T> => {
    const answered = reportOf<T>(child, `the server of ${order.app}`)
    child.send(question)
    return answered
  }
  const { url } = await reportOf<{ url: string }>(child, `the server of ${order.app}`)
  return {
    url,
    begin: async () => { await ask('begin') },
    end: async () => (await ask<{ cpu: number, maxRss: number }>('end')).cpu,
    stop: () => end(child, 'SIGTERM'),
    kill: () => end(child, 'SIGKILL')
  }
}

async function end (child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

export async function sendLoad (order: LoadOrder): Promise<LoadReport> {
  const child = start('load.ts', order)
  const report = await reportOf<LoadReport>(child, 'the load')
  child.kill()
  return report
}
