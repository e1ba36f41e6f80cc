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

export type ServerQuestion = 'begin' | 'end'
export type ServerReport = { url: string } | { began: true } | { cpu: number }

const { app, work, servers } = JSON.parse(process.argv[2] ?? '') as ServerOrder

const { url } = await listen(app, work, servers)
let began: NodeJS.CpuUsage | undefined

process.on('message', (question: ServerQuestion) => {
  if (question === 'begin') {
    began = process.cpuUsage()
    report({ began: true })
  } else {
    const { user, system } = process.cpuUsage(began)
    report({ cpu: user + system })
  }
})
process.on('disconnect', () => process.exit(0))
// Ends in an orderly way, so that --cpu-prof writes its file.
process.on('SIGTERM', () => process.exit(0))
report({ url })

function report (what: ServerReport): void {
  process.send?.(what)
}
