import { randomInt } from 'node:crypto'
import { MissingBinaryError } from '../servers/binaries.ts'
import { readArguments, USAGE, UsageError } from './arguments.ts'
import type { ScheduleOptions } from './schedule.ts'
import { report } from './report.ts'
import { run } from './run.ts'
import { schedule } from './schedule.ts'

/*
 * npm run test:chaos
 *
 * Makes payments while everything that they depend on is broken on purpose, and exits with 1 if a promise is.
 * Servers and apps are this run's own, and end with it, however it ends: see test/servers/reaper.ts.
 */
let options: ScheduleOptions
try {
  options = readArguments(process.argv.slice(2), randomInt(2 ** 32))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\n\n${USAGE}`)
  process.exit(2)
}

const again = `--seed ${options.seed} --payments ${options.payments} --faults ${options.faults} --apps ${options.apps}`
const say = (line: string): void => { process.stderr.write(`chaos: ${line}\n`) }
say(again)
try {
  const result = await run(schedule(options), { seed: options.seed, apps: options.apps, progress: say })
  process.stdout.write(`${report(result)}\n`)
  if (result.checked.verdicts.some(({ violations }) => violations.length > 0)) process.exitCode = 1
} catch (error) {
  process.stderr.write(error instanceof MissingBinaryError ? `${error.message}\n` : `${(error as Error).stack}\n`)
  process.exitCode = 1
}
if (process.exitCode === 1) say(`failed. The same schedule again: npm run test:chaos -- ${again}`)
