import { mkdir, writeFile } from 'node:fs/promises'
import { startPostgres } from '../test/servers/postgres.ts'
import { startRedis } from '../test/servers/redis.ts'
import { allocationGoals, allocationSites, allocationTable, measureAllocations } from './allocations.ts'
import { checkAnswers, answersTable } from './answers.ts'
import { readArguments } from './arguments.ts'
import { writeCharts } from './charts.ts'
import { goalsOf } from './goals.ts'
import { MAX_LANES } from './lane.ts'
import type { Context, Sample } from './lane.ts'
import { LATENCY_MODES, latencyGoals, latencyTable, measureLatency } from './latency.ts'
import { describeMachine, machineText } from './machine.ts'
import { FURTHER, MAIN, modeOf, QUICK } from './modes.ts'
import type { Mode } from './modes.ts'
import { startLoad } from './processes.ts'
import { profile } from './profile.ts'
import { GOAL_SERVERS, measureServers, serverGoals, serversTable } from './redis-servers.ts'
import { figuresTable, goalsTable, windowsText } from './report.ts'
import { measureInRounds } from './rounds.ts'
import { measureScale, scaleGoals, scaleTables } from './scale.ts'
import { summarize } from './statistics.ts'

const RESULTS = new URL('results/', import.meta.url)
const args = readArguments(process.argv.slice(2))
/** An ordinary window. */
const WINDOW = { requests: 10_000, connections: 20 }

const say = (text: string): void => { process.stdout.write(`${text}\n`) }
const began = performance.now()
const progress = (text: string): void => {
  process.stderr.write(`[${Math.round((performance.now() - began) / 1_000)} s] ${text}\n`)
}

// Before the servers start: a server that has just started is not idle.
const machine = await describeMachine()
const [redis, postgres] = await Promise.all([
  startRedis({ args: ['--databases', String(MAX_LANES)] }), startPostgres()
])
const load = startLoad()
try {
  const servers = { redisUrl: redis.url, databaseUrl: postgres.url }
  const context: Context = { load, servers, postgresPid: postgres.pid, repeats: { left: 0 } }
  if (args.profile) await profile(servers, load, RESULTS, say)
  else if (args.allocations) say(allocationSites(await measureAllocations(context, progress)))
  else await bench(context)
} finally {
  await Promise.all([load.stop(), redis.stop(), postgres.stop()])
}

/** The modes, in groups that are measured one after the other. */
function groupsOf (): Array<{ modes: Mode[], rounds: number }> {
  if (args.only.length > 0) return [{ modes: args.only.map(modeOf), rounds: 4 }]
  if (args.quick) return [{ modes: MAIN.filter(({ name }) => QUICK.has(name)), rounds: 4 }]
  return [{ modes: MAIN, rounds: 15 }, { modes: FURTHER, rounds: 5 }]
}

async function bench (context: Context): Promise<void> {
  const groups = groupsOf()
  const isWhole = !args.quick && args.only.length === 0
  say(machineText(machine))
  const samples: Array<[Mode, Sample[]]> = []
  for (const { modes, rounds } of groups) {
    const repeats = { left: Math.ceil(modes.length * rounds / 2) }
    const conditions = { ...context, ...WINDOW, repeats }
    samples.push(...await measureInRounds(modes, { generations: 1, rounds }, conditions, progress))
  }
  const results = Object.fromEntries(samples.map(([{ name }, values]) => [name, summarize(values)]))
  const further = { ...context, repeats: { left: isWhole ? 60 : 10 } }
  const latencies = isWhole
    ? await measureLatency(LATENCY_MODES, 9, further, progress)
    : args.quick ? await measureLatency(['floor first', 'plugin first'], 5, further, progress) : []
  const scale = isWhole ? await measureScale(further, progress) : null
  const allocations = isWhole ? await measureAllocations(context, progress) : []
  const onServers = isWhole ? await measureServers(GOAL_SERVERS, 9, further, progress) : []
  const answers = isWhole ? await checkAnswers(context.servers, progress) : null
  const goals = [
    ...goalsOf(results),
    ...latencyGoals(latencies),
    ...(scale === null ? [] : scaleGoals(scale)),
    ...serverGoals(onServers),
    ...(isWhole ? allocationGoals(allocations) : [])
  ]

  const tables = [
    machineText(machine),
    ...(machine.foreign === null ? [] : [windowsText(results)]),
    figuresTable(results),
    goalsTable(goals),
    ...(latencies.length > 0 ? [latencyTable(latencies)] : []),
    ...(scale === null ? [] : scaleTables(scale)),
    ...(isWhole ? [serversTable(onServers), allocationTable(allocations)] : []),
    ...(answers === null ? [] : [answersTable(answers)])
  ]
  say(`\n${tables.join('\n\n')}`)
  if (!isWhole) return
  await mkdir(RESULTS, { recursive: true })
  const measured = {
    machine: { ...machine, ...WINDOW }, results, goals, latencies, scale, servers: onServers, allocations, answers
  }
  await writeFile(new URL('results.json', RESULTS), `${JSON.stringify(measured, null, 2)}\n`)
  await writeFile(new URL('results.md', RESULTS), `${tables.join('\n\n')}\n`)
  await writeCharts(results, RESULTS)
  progress('written to benchmarks/results/')
}
