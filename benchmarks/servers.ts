import { mkdir, writeFile } from 'node:fs/promises'
import type { Context } from './lane.ts'
import { describeMachine, machineText } from './machine.ts'
import { startLoad } from './processes.ts'
import { ALL_SERVERS, measureServers, serverGoals, serversTable } from './redis-servers.ts'
import { goalsTable } from './report.ts'

/*
 * npm run bench:servers
 *
 * What a first run and a replay cost on Redis 7.0, Redis 8.0, Valkey 8.1 and Valkey 9, with the script and, where the
 * server has it, with the native compare-and-set. It runs outside CI, since it downloads packages at its first run.
 */

const ROUNDS = 9
const RESULTS = new URL('results/', import.meta.url)
const say = (text: string): void => { process.stdout.write(`${text}\n`) }
const began = performance.now()
const progress = (text: string): void => {
  process.stderr.write(`[${Math.round((performance.now() - began) / 1_000)} s] ${text}\n`)
}

const machine = await describeMachine()
say(machineText(machine))
const load = startLoad()
try {
  const context: Context = {
    load,
    // Each lane gets the address of its own server, and none uses Postgres.
    servers: { redisUrl: '', databaseUrl: '' },
    postgresPid: 0,
    repeats: { left: 100 }
  }
  const figures = await measureServers(ALL_SERVERS, ROUNDS, context, progress)
  const text = [machineText(machine), serversTable(figures), goalsTable(serverGoals(figures))].join('\n\n')
  say(`\n${text}`)
  await mkdir(RESULTS, { recursive: true })
  await writeFile(new URL('servers.md', RESULTS), `${text}\n`)
  progress('written to benchmarks/results/servers.md')
} finally {
  await load.stop()
}
