import { mkdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { startPostgres } from '../test/servers/postgres.ts'
import { startRedis } from '../test/servers/redis.ts'
import { checkAnswers, answersTable } from './answers.ts'
import { readArguments } from './arguments.ts'
import { writeCharts } from './charts.ts'
import { goalsOf } from './goals.ts'
import { measure } from './measure.ts'
import type { Sample } from './measure.ts'
import { MODES, QUICK } from './modes.ts'
import { profile } from './profile.ts'
import { figuresTable, goalsTable } from './report.ts'
import { measureScale, scaleGoals, scaleTables } from './scale.ts'
import { summarize } from './statistics.ts'

const RESULTS = fileURLToPath(new URL('results/', import.meta.url))
const args = readArguments(process.argv.slice(2))
const rounds = args.quick ? 3 : 5
const requests = args.quick ? 3_000 : 12_000
const connections = 20

const say = (text: string): void => { process.stdout.write(`${text}\n`) }
const progress = (text: string): void => { process.stderr.write(`${text}\n`) }

const [{ url: redisUrl, stop: stopRedis }, { url: databaseUrl, stop: stopPostgres }] = await Promise.all([startRedis(), startPostgres()])
const redis = new Redis(redisUrl)
try {
  const servers = { redisUrl, databaseUrl }
  if (args.profile) await profile(servers, RESULTS, say)
  else await bench(servers)
} finally {
  redis.disconnect()
  await Promise.all([stopRedis(), stopPostgres()])
}

async function bench (servers: { redisUrl: string, databaseUrl: string }): Promise<void> {
  const modes = MODES.filter(({ name }) => (args.only.length > 0 ? args.only.some(wanted => name.includes(wanted)) : !args.quick || QUICK.has(name)))
  if (modes.length === 0) throw new Error(`no mode is called like that; there are: ${MODES.map(({ name }) => name).join(', ')}`)
  const began = performance.now()
  const samples = new Map<string, Sample[]>()
  // In rounds, so that a minute in which the machine is slow is shared by all.
  for (let round = 1; round <= rounds; round++) {
    for (const mode of modes) {
      const sample = await measure(mode, { redis, servers, requests, connections })
      samples.set(mode.name, [...samples.get(mode.name) ?? [], sample])
      progress(`[${Math.round((performance.now() - began) / 1_000)} s] round ${round}/${rounds} ${mode.name}: ${sample.cpu.toFixed(1)} µs`)
    }
  }
  const results = Object.fromEntries([...samples].map(([name, values]) => [name, summarize(values)]))
  const isWhole = !args.quick && args.only.length === 0
  const scale = isWhole ? await measureScale(redis, servers, progress) : null
  const answers = isWhole ? await checkAnswers(redis, servers, progress) : null
  const goals = [...goalsOf(results), ...(scale === null ? [] : scaleGoals(scale))]

  say(`\n${figuresTable(results)}\n\n${goalsTable(goals)}`)
  if (scale !== null) say(`\n${scaleTables(scale)}`)
  if (answers !== null) say(`\n${answersTable(answers)}`)
  if (!isWhole) return
  await mkdir(RESULTS, { recursive: true })
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, rounds, requests, connections }
  await writeFile(new URL('results/results.json', import.meta.url), `${JSON.stringify({ machine, results, goals, scale, answers }, null, 2)}\n`)
  await writeCharts(results, new URL('results/', import.meta.url))
  progress(`written to ${RESULTS}`)
}
