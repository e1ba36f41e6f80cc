import cluster from 'node:cluster'
import type { Worker } from 'node:cluster'
import { once } from 'node:events'
import { join } from 'node:path'

/*
 * The service in two workers of node:cluster. SIGHUP: one after the other is replaced, the new one listening before the
 * old one is told to end. SIGTERM: all of them end.
 */
cluster.setupPrimary({ exec: join(import.meta.dirname, 'service.ts') })

async function startWorker (): Promise<Worker> {
  const worker = cluster.fork()
  await once(worker, 'listening')
  return worker
}

let workers: Promise<Worker[]> = Promise.all([startWorker(), startWorker()])

async function replaceAll (): Promise<Worker[]> {
  const replaced: Worker[] = []
  for (const old of await workers) {
    replaced.push(await startWorker())
    old.process.kill('SIGTERM')
    const [code] = await once(old, 'exit') as [number]
    process.stdout.write(`a worker has ended with code ${code}\n`)
  }
  process.stdout.write('all workers are replaced\n')
  return replaced
}

process.on('SIGHUP', () => { workers = replaceAll() })
process.once('SIGTERM', () => { void endAll() })

async function endAll (): Promise<void> {
  await Promise.all((await workers).map((worker) => {
    worker.process.kill('SIGTERM')
    return once(worker, 'exit')
  }))
  process.exit(0)
}
