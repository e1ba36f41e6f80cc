import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import type { Profiler } from 'node:inspector'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Servers } from './apps/index.ts'
import { modeOf } from './modes.ts'
import { startServer } from './processes.ts'
import type { LoadProcess } from './processes.ts'
import { table } from './report.ts'

const REQUESTS = 100_000
const CONNECTIONS = 20

/** Writes CPU profiles of the plugin's server and says what took the time. Open them in a browser's developer tools. */
export async function profile (
  servers: Servers,
  load: LoadProcess,
  directory: URL,
  log: (text: string) => void
): Promise<void> {
  for (const name of ['floor first', 'plugin first', 'floor replay', 'plugin replay', 'plugin replay cached']) {
    const { app, work, traffic } = modeOf(name)
    const directoryName = name.replaceAll(' ', '-')
    const target = join(fileURLToPath(directory), directoryName)
    await rm(target, { recursive: true, force: true })
    await mkdir(target, { recursive: true })
    const server = await startServer({ app, work, servers }, [
      '--cpu-prof',
      `--cpu-prof-dir=${target}`,
      '--cpu-prof-interval=200'
    ])
    const { statuses } = await load.send({
      url: server.url,
      requests: REQUESTS,
      connections: CONNECTIONS,
      key: `${directoryName}-#`,
      share: 1,
      keys: traffic === 'first' ? 0 : 500
    })
    await server.stop()
    if (statuses['200'] !== REQUESTS) throw new Error(`${name}: ${JSON.stringify(statuses)}`)
    const { file, busiest } = await readProfile(target)
    const { total, ours, top } = selfTimes(busiest)
    log(
      `\n${name}: ${(total / REQUESTS).toFixed(1)} µs a request` +
        `${name.startsWith('plugin') ? `, of which the plugin's own code ${(ours / REQUESTS).toFixed(1)} µs` : ''} ` +
        `(benchmarks/results/${directoryName}/${file})\n`
    )
    log(
      table(
        ['function', 'µs a request'],
        top.slice(0, 25).map(([name, time]) => [name, (time / REQUESTS).toFixed(2)])
      )
    )
  }
}

/** The profile of the main thread: the TypeScript loader has a thread and a profile of its own. */
async function readProfile (directory: string): Promise<{ file: string, busiest: Profiler.Profile }> {
  const profiles = await Promise.all(
    (await readdir(directory))
      .filter(name => name.endsWith('.cpuprofile'))
      .map(async file => ({
        file,
        busiest: JSON.parse(await readFile(join(directory, file), 'utf8')) as Profiler.Profile
      }))
  )
  const [first] = profiles.sort((a, b) => b.busiest.nodes.length - a.busiest.nodes.length)
  if (first === undefined) throw new Error(`no profile was written to ${directory}`)
  return first
}

function selfTimes ({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): {
  total: number,
  ours: number,
  top: Array<[string, number]>
} {
  const byId = new Map(nodes.map(node => [node.id, node.callFrame]))
  const times = new Map<string, number>()
  let total = 0
  let ours = 0
  samples.forEach((id, i) => {
    const frame = byId.get(id)
    if (frame === undefined || frame.functionName === '(idle)') return
    const time = timeDeltas[i] ?? 0
    total += time
    if (frame.url.includes('/dist/esm/')) ours += time
    const place = frame.url === '' ? '' : `${frame.url.split('/').slice(-3).join('/')}:${frame.lineNumber + 1}`
    const name = `${frame.functionName || '(anonymous)'} ${place}`
    times.set(name, (times.get(name) ?? 0) + time)
  })
  return { total, ours, top: [...times].sort(([, a], [, b]) => b - a) }
}
