import { startSampling, stopSampling } from './allocation-sampler.ts'
import type { Allocations } from './allocation-sampler.ts'
import { listen } from './apps/index.ts'
import type { AppName, Servers } from './apps/index.ts'
import type { Work } from './apps/shared.ts'

/*
 * A process that serves one app and is measured. Its command line says what to serve, and messages say when the
 * measured window begins and ends.
 */
export interface ServerOrder {
  app: AppName
  work: Work
  servers: Servers
}

/** `begin` and `end` measure CPU, `sample` and `sampled` allocations. */
export type ServerQuestion = 'begin' | 'end' | 'sample' | 'sampled'
export type ServerReport = { url: string } | { began: true } | { cpu: number } | { allocations: Allocations }

const { app, work, servers } = JSON.parse(process.argv[2] ?? '') as ServerOrder

const { url } = await listen(app, work, servers)
let began: NodeJS.CpuUsage | undefined

const answers: Record<ServerQuestion, () => ServerReport | Promise<ServerReport>> = {
  begin () {
    began = process.cpuUsage()
    return { began: true }
  },
  end () {
    const { user, system } = process.cpuUsage(began)
    return { cpu: user + system }
  },
  async sample () {
    await startSampling()
    return { began: true }
  },
  sampled: async () => ({ allocations: await stopSampling() })
}

process.on('message', (question: ServerQuestion) => {
  const answer = answers[question]()
  // The CPU of `begin` and `end` is reported at once.
  if (answer instanceof Promise) void answer.then(report)
  else report(answer)
})
process.on('disconnect', () => process.exit(0))
// Ends in an orderly way, so that --cpu-prof writes its file.
process.on('SIGTERM', () => process.exit(0))
report({ url })

function report (what: ServerReport): void {
  process.send?.(what)
}
