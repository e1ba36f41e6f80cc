import cluster from 'node:cluster'
import type { Worker } from 'node:cluster'
import { once } from 'node:events'

/*
 * The service in two workers of node:cluster. SIGHUP: the workers are replaced one after the other, and a new one
 * listens before the old one is asked to end. SIGTERM: all of them end.
 */
if (cluster.isPrimary) lookAfterWorkers()
else await import('./service.ts')

function lookAfterWorkers (): void {
  let workers: Promise<Worker[]> = Promise.all([startWorker(), startWorker()])
  process.on('SIGHUP', () => { workers = workers.then(replaceAll) })
  process.once('SIGTERM', () => { void workers.then(endAll) })
}

async function startWorker (): Promise<Worker> {
  const worker = cluster.fork()
  await once(worker, 'listening')
  return worker
}

async function replaceAll (workers: Worker[]): Promise<Worker[]> {
  const replaced: Worker[] = []
  for (const old of workers) {
    replaced.push(await startWorker())
    old.process.kill('SIGTERM')
    const [code] = await once(old, 'exit') as [number]
    process.stdout.write(`a worker has ended with code ${code}\n`)
  }
  process.stdout.write('all workers are replaced\n')
  return replaced
}

async function endAll (workers: Worker[]): Promise<void> {
  await Promise.all(workers.map((worker) => {
    worker.process.kill('SIGTERM')
    return once(worker, 'exit')
  }))
  process.exit(0)
}
