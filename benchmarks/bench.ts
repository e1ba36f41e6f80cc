import { mkdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { startPostgres } from '../test/servers/postgres.ts'
import { startRedis } from '../test/servers/redis.ts'
import type { Servers } from './apps/index.ts'
import { checkAnswers, answersTable } from './answers.ts'
import { readArguments } from './arguments.ts'
import { writeCharts } from './charts.ts'
import { goalsOf } from './goals.ts'
import { MAX_LANES } from './lane.ts'
import { MODES, QUICK } from './modes.ts'
import { startLoad } from './processes.ts'
import { profile } from './profile.ts'
import { figuresTable, goalsTable } from './report.ts'
import { measureInRounds } from './rounds.ts'
import { measureScale, scaleGoals, scaleTables } from './scale.ts'
import { summarize } from './statistics.ts'

const RESULTS = new URL('results/', import.meta.url)
const args = readArguments(process.argv.slice(2))
const extent = args.quick
  ? { generations: 1, rounds: 3, requests: 10_000, connections: 20 }
  : { generations: 1, rounds: 4, requests: 10_000, connections: 20 }

const say = (text: string): void => { process.stdout.write(`${text}\n`) }
const began = performance.now()
const progress = (text: string): void => {
  process.stderr.write(`[${Math.round((performance.now() - began) / 1_000)} s] ${text}\n`)
}

const [{ url: redisUrl, stop: stopRedis }, { url: databaseUrl, stop: stopPostgres }] = await Promise.all([
  startRedis({ args: ['--databases', String(MAX_LANES)] }), startPostgres()
])
const load = startLoad()
try {
  const servers = { redisUrl, databaseUrl }
  if (args.profile) await profile(servers, load, RESULTS, say)
  else await bench(servers)
} finally {
  await Promise.all([load.stop(), stopRedis(), stopPostgres()])
}

async function bench (servers: Servers): Promise<void> {
  const modes = MODES.filter(({ name }) =>
    args.only.length > 0 ? args.only.includes(name) : !args.quick || QUICK.has(name)
  )
  if (modes.length === 0) {
    throw new Error(`no mode is called like that; there are: ${MODES.map(({ name }) => name).join(', ')}`)
  }
  const { requests, connections } = extent
  const samples = await measureInRounds(modes, extent, { load, servers, requests, connections }, progress)
  const results = Object.fromEntries([...samples].map(([{ name }, values]) => [name, summarize(values)]))
  const isWhole = !args.quick && args.only.length === 0
  const scale = isWhole ? await measureScale(load, servers, progress) : null
  const answers = isWhole ? await checkAnswers(servers, progress) : null
  const goals = [...goalsOf(results), ...(scale === null ? [] : scaleGoals(scale))]

  const tables = [
    figuresTable(results),
    goalsTable(goals),
    ...(scale === null ? [] : scaleTables(scale)),
    ...(answers === null ? [] : [answersTable(answers)])
  ]
  say(`\n${tables.join('\n\n')}`)
  if (!isWhole) return
  await mkdir(RESULTS, { recursive: true })
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, ...extent }
  await writeFile(
    new URL('results.json', RESULTS),
    `${JSON.stringify({ machine, results, goals, scale, answers }, null, 2)}\n`
  )
  await writeFile(new URL('results.md', RESULTS), `${tables.join('\n\n')}\n`)
  await writeCharts(results, RESULTS)
  progress('written to benchmarks/results/')
}
